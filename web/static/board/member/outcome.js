import { call, get } from "../lib/api.js";
import { counted, moment, number, ordinal, price } from "../lib/format.js";
import { board as texts } from "../lib/messages.js";
import { priceToPass } from "../lib/scoring.js";
import { ask, html, useLoaded, useState } from "../lib/ui.js";

const OFFER_REFRESH_MS = 30_000;

/** The final results, and what they mean for the member. */
export function Outcome({ sale: { session, results, own } }) {
  const { final_price: final, total_winners: winners, total_bidders: bidders } = results;
  return html`<section id="results" aria-label=${texts.results}>
    <h2>${texts.results}</h2>
    ${own && html`<${OwnOutcome} ...${{ session, results, own }} />`}
    <p>${texts.finalPrice} <strong>${price(final)}</strong>${texts.won(winners, counted(bidders, "bidder"))}</p>
    <ol>${results.winners.map((winner) => html`<li key=${winner.user_id} value=${winner.rank}>${winnerText(winner)}</li>`)}</ol>
  </section>`;
}

function winnerText({ username, price: offered, price_to_pay: pays }) {
  return pays == null || pays === offered ? texts.winner(username, price(offered)) : texts.winnerPays(username, price(offered), price(pays));
}

/** The member's offer, which a loser may get later; without one, what would have won. */
function OwnOutcome({ session, results, own }) {
  const { session_id: id } = session;
  const { data, reload } = useLoaded(async () => {
    const [offers, bids] = await Promise.all([get("/api/offers?page_size=100"), get(`/api/bids/me?session_id=${id}&page_size=1`)]);
    return { offer: offers.find((offer) => offer.session_id === id), bid: bids[0] };
  }, [id, own.rank], OFFER_REFRESH_MS);
  if (!data) return null;
  if (data.offer) return html`<${Offer} offer=${data.offer} reload=${reload} />`;
  return own.is_winner ? null : html`<p id="outcome">${lossText(session, results, own, data.bid)}</p>`;
}

function Offer({ offer, reload }) {
  const [problem, setProblem] = useState("");
  const decline = async () => {
    if (!(await ask({ title: texts.declineTitle, text: texts.declineText, button: texts.decline }))) return;
    await call("PUT", `/api/offers/${offer.offer_id}/decline`).then(() => setProblem(""), (error) => setProblem(error.message));
    reload();
  };
  return html`<p id="outcome"><strong>${texts.offers[offer.state](price(offer.price_to_pay), moment(offer.expires_at))}</strong></p>
    <p class="problem" role="alert">${problem}</p>
    ${offer.state === "open" && html`<p class="actions"><button type="button" class="quiet" onClick=${decline}>${texts.decline}</button></p>`}`;
}

/** "5th of 312. The last winner had 1,016 points, you had 998: 36.40 more would have won." */
function lossText(session, results, own, bid) {
  const target = results.winners.at(-1)?.score;
  const needed = bid && target != null ? priceToPass(session, bid.response_time, bid.user_weight, target) : null;
  return texts.lost(ordinal(own.rank), results.total_bidders)
    + (target == null ? "" : texts.lostBy(number(target), number(own.score)))
    + (needed == null ? "" : texts.lostMore(price(needed - own.price))) + (target == null ? "" : ".");
}
