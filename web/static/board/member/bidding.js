import { me } from "../lib/api.js";
import { announce } from "../lib/announce.js";
import { number, ordinal, place, price, score } from "../lib/format.js";
import { board as texts } from "../lib/messages.js";
import { parsePrice, typedPrice } from "../lib/prices.js";
import { bonusOf, loyaltyOf, marginOf, nextStep, priceToPass, rankOf, score as scoreOf } from "../lib/scoring.js";
import { ask, html, useDraft, useEffect, useRef } from "../lib/ui.js";

// The early bonus falls while the bid travels: a price for now would come too late.
const HEADROOM_SECONDS = 3;
const SUSPICIOUS_FACTOR = 3;
const EXAMPLE = 1250.5;

/** Where the member stands, what the next place costs, and the form for a price. */
export function Bidding({ sale }) {
  const panel = useRef(null);
  const [typed, setTyped] = useDraft(sale.session.session_id);
  // An element that leaves takes the focus along; the standing says what happened.
  const hadFocus = panel.current?.contains(document.activeElement);
  useEffect(() => {
    if (hadFocus && document.activeElement === document.body) panel.current?.querySelector("#standing").focus();
  });
  if (sale.session.status === "cancelled" || (sale.isOver && !sale.own)) return null;
  const { own, isSure } = sale;
  const send = (amount) => submit(sale, amount);
  return html`<section class="panel bidding" aria-label=${texts.yourBid} ref=${panel}>
    <p id="standing" tabindex="-1" class=${`standing ${isSure ? (own?.is_winner ? "wins" : "") : "stale"}`}>${sale.standing}</p>
    ${!sale.isOver && html`
      <p class="margin" id="margin">${marginText(sale)}</p>
      <${Step} sale=${sale} send=${send} />
      ${me() ? html`<${PriceForm} ...${{ sale, typed, setTyped, send }} />` : html`<p><a href="#/account">${texts.signIn}</a></p>`}
      <${Rule} sale=${sale} />`}
  </section>`;
}

function marginText({ session, board, own, isSure, isOpen }) {
  if (!isOpen || !isSure || !board || !own?.is_winner) return "";
  const margin = marginOf(session, board, own);
  if (margin === Infinity) return texts.noRival;
  if (margin == null) return "";
  return margin < 0.01 ? texts.closeMargin : texts.margin(number(margin));
}

/** What must be bid to win, in a few seconds still; null for winners and outside the session. */
function stepOf({ session, board, own, link, isSure, isOpen, weight, responseTime }) {
  if (!me() || !isOpen || !board || link === "offline" || (own && !isSure)) return null;
  // In whole seconds: the price does not change under the finger five times a second.
  return nextStep(session, board, own, Math.floor(responseTime) + HEADROOM_SECONDS, weight);
}

/** The bid for the next place in one tap; without an answer to the last bid, that one again. */
function Step({ sale, send }) {
  const step = stepOf(sale);
  const amount = sale.isOpen && sale.unconfirmed != null ? sale.unconfirmed : step?.price;
  if (amount == null) return null;
  const text = amount === sale.unconfirmed ? texts.again(price(amount)) : texts.step(price(amount), place(step.rank));
  return html`<button type="button" id="step" aria-disabled=${sale.isSending} onClick=${() => send(amount)}>${text}</button>`;
}

/** The points of a bid, with the numbers of this moment. */
function Rule({ sale: { session, weight, responseTime, isOpen } }) {
  const parts = [session.alpha && texts.pricePart(number(session.alpha)), session.beta && texts.bonusPart(number(bonusOf(session, responseTime))),
    session.gamma && (me() ? texts.loyaltyPart(number(loyaltyOf(session, weight))) : texts.loyaltyOfGuests)];
  return html`<p class="rule" id="rule">${texts.rule(parts.filter(Boolean))}. ${session.beta && isOpen ? texts.falling : ""}</p>`;
}

function PriceForm({ sale, typed, setTyped, send }) {
  const { currency, pricing } = sale.session;
  const preview = previewOf(sale, parsePrice(typed, currency).price);
  const type = (event) => {
    setTyped(event.target.value);
    const text = previewOf(sale, parsePrice(event.target.value, currency).price);
    if (text) announce(text);
  };
  const handle = (event) => {
    event.preventDefault();
    const { price: amount, problem } = parsePrice(typed, currency);
    if (!problem) return send(amount);
    sale.problem = texts.prices[problem](typedPrice(EXAMPLE, currency));
    sale.changed();
  };
  return html`<form aria-label=${texts.bid} onSubmit=${handle}>
    <label>${texts.price(currency)}<input name="price" inputmode="decimal" autocomplete="off" value=${typed} onInput=${type}
      aria-describedby="preview pays" aria-invalid=${Boolean(sale.problem)} /></label>
    <p class="preview" id="preview">${preview}</p>
    <p class="problem" role="alert">${sale.problem}</p>
    <button type="submit" aria-disabled=${sale.isSending}>${texts.placeBid}</button>
    <p class="rule" id="pays">${texts.pays[pricing]?.(currency)}</p>
  </form>`;
}

/** What this price would be worth now. */
function previewOf(sale, amount) {
  const { session, board, own, weight, responseTime } = sale;
  if (amount == null || !board || sale.isOver) return "";
  if (amount < session.upset_price) return texts.belowStart(price(session.upset_price));
  if (own?.price === amount) return texts.same;
  if (own && amount < own.price && !session.allow_lower_bids) return texts.binds(price(own.price));
  const points = scoreOf(session, amount, responseTime, weight);
  if (own && points <= own.score) return lossText(sale, amount, points);
  const rank = rankOf(board, me().user_id, points);
  const where = placeText(board, rank, place);
  if (own?.is_winner) return texts.previewOfWinner(score(points), where);
  const wins = rank == null ? points > board.threshold_score : rank <= session.inventory;
  return texts.preview(score(points), where, wins);
}

/** "Raising to 400.00 loses your early bonus: 1st → 5th." */
function lossText({ board, own }, amount, points) {
  if (!own) return "";
  const after = placeText(board, rankOf(board, me().user_id, points), ordinal);
  return (amount < own.price ? texts.lowers : texts.loses)(price(amount), ordinal(own.rank), after);
}

const placeText = (board, rank, name) => (rank == null ? texts.below(name(board.leaderboard.length)) : name(rank));

/** Send a bid. What looks like a mistake is asked about first, once. */
async function submit(sale, amount) {
  if (sale.isSending) return;
  Object.assign(sale, { isSending: true, problem: "" });
  sale.changed();
  try {
    if (await isMeant(sale, amount)) await placeOrAsk(sale, amount);
  } catch (problem) {
    sale.problem = problem.message;
  }
  sale.isSending = false;
  sale.changed();
}

async function placeOrAsk(sale, amount) {
  try {
    await sale.bid(amount);
  } catch (problem) {
    if (problem.code !== "score_would_drop") throw problem;
    const { score: offered, standing_score: standing } = problem.data;
    const text = texts.dropText(lossText(sale, amount, offered), score(offered), score(standing));
    if (await ask({ title: texts.dropTitle, text, button: texts.dropButton })) return sale.bid(amount, true);
    throw new Error(notPlaced(sale, amount, offered, standing));
  }
}

/** Why a bid that would lower the member's score was not placed, and what would raise it. */
function notPlaced({ session, own, weight, responseTime }, amount, offered, standing) {
  if (own && amount < own.price) return texts.notLowered(price(amount), score(offered), score(standing));
  const needed = priceToPass(session, responseTime, weight, standing);
  return texts.notPlaced(price(amount), score(offered), score(standing)) + (needed == null ? "" : texts.orMore(price(needed)));
}

/** Ask about a price that is a multiple of what is needed: a sign may be missing. */
async function isMeant(sale, amount) {
  const needed = stepOf(sale)?.price ?? sale.own?.price ?? sale.session.upset_price;
  const times = Math.floor(amount / needed);
  if (times < SUSPICIOUS_FACTOR || sale.meant === amount) return true;
  const isMeant = await ask({ title: texts.muchTitle, text: texts.muchText(price(amount), times, price(needed)), button: texts.muchButton(price(amount)) });
  if (isMeant) sale.meant = amount;
  return isMeant;
}
