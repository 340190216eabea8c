// A session's offers: who has to pay what until when, and how each ends.

import { call, get, getPage, now } from "../lib/api.js";
import { counted } from "../lib/format.js";
import { common } from "../lib/messages.js";
import { ask, Choice, html, Pages, useLoaded, useState } from "../lib/ui.js";
import { useActs } from "./acts.js";
import { consoleSessions as texts } from "./messages.js";
import { money, moment } from "./moments.js";

const PAGE_SIZE = 20;
const REFRESH_MS = 5000;
const STATES = [["", texts.anyStatus], ...Object.entries(texts.states)];

export function Offers({ session, bidders }) {
  const path = `/api/admin/sessions/${session.session_id}/offers`;
  const [{ state, page }, choose] = useState({ state: "", page: 1 });
  const read = async () => ({
    ...await getPage(`${path}${state && `?state=${state}`}`, page, PAGE_SIZE),
    next: await nextInLine(session, path, bidders),
  });
  const { data, error, reload } = useLoaded(read, [path, state, page], REFRESH_MS);
  const [act, outcome] = useActs(reload);
  return html`<${Choice} label=${texts.status} options=${STATES} value=${state} onChange=${(event) => choose({ state: event.target.value, page: 1 })} />
    <p class="problem" role="alert">${error?.message}</p>
    ${outcome}
    ${data ? html`<p>${data.total ? counted(data.total, texts.offer) : texts.noOffers} · ${data.next}</p>` : !error && html`<p>${common.loading}</p>`}
    <ul class="rows">${data?.items.map((offer) => html`<${Offer} key=${offer.offer_id} offer=${offer} act=${act} path=${path} />`)}</ul>
    <${Pages} page=${page} pages=${data?.pages} go=${(to) => choose({ state, page: to })} />`;
}

/** Who is offered the next item that comes free: offers go by rank, so the one behind the last offer. */
async function nextInLine({ session_id: id, offers_end: end }, path, bidders) {
  if (end && Date.parse(end) <= now()) return texts.offersOver(moment(end));
  const { total } = await getPage(path, 1, 1);
  const served = total ? (await get(`${path}?page_size=1&page=${total}`))[0].rank : 0;
  if (served >= bidders) return texts.nobodyNext;
  const { rankings: [next] } = await get(`/api/results/${id}?page_size=1&page=${served + 1}`);
  return texts.next(next.rank, next.username);
}

function Offer({ offer, act, path }) {
  const { offer_id: id, rank, username: name, email, state, expires_at: deadline, settled_at: settled } = offer;
  const price = money(offer.price_to_pay, offer.currency);
  const settle = (verb, question, done) => act(async () => {
    const answer = await ask(question);
    if (!answer) return "";
    await call("PUT", `${path}/${id}/${verb}`, answer.hand_on && { hand_on: answer.hand_on === "true" });
    return done(name);
  });
  const handOn = html`<${Choice} label=${texts.handOn} name="hand_on" options=${Object.entries(texts.handOns)} />`;
  const acts = [
    [texts.paid, settle("paid", { title: texts.paidTitle(name), text: texts.paidText(price), button: texts.paid }, texts.markedPaid)],
    [texts.withdraw, settle("withdrawn", { title: texts.withdrawTitle(name), text: texts.withdrawText, button: texts.withdraw, fields: handOn }, texts.withdrawn)],
    [texts.decline, settle("declined", { title: texts.declineTitle(name), text: texts.declineText, button: texts.decline }, texts.declined)],
  ];
  return html`<li>
    <div><h3>${rank}. ${name}</h3>
      <p>${email ? html`<a href="mailto:${encodeURIComponent(email)}">${email}</a>` : texts.noEmail} · ${texts.pays(price)}</p>
      <p class="facts"><strong>${texts.states[state]}</strong> ${settled ? texts.settled(moment(settled)) : texts.payBy(moment(deadline))}</p></div>
    ${state === "open" && html`<p class="actions">${acts.map(([text, run]) =>
      html`<button type="button" class="quiet" aria-label="${text}: ${name}" onClick=${run}>${text}</button>`)}</p>`}
  </li>`;
}
