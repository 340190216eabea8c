import { call, getPage } from "../lib/api.js";
import { dayTime, When } from "../lib/days.js";
import { announce } from "../lib/announce.js";
import { price, useCurrency } from "../lib/format.js";
import { news as texts } from "../lib/messages.js";
import { ask, focusHeading, Heading, html, Pages, useLoaded, useRef, useState, Waiting } from "../lib/ui.js";

const REFRESH_MS = 30_000;

/** What the shop tells the member, newest first, and what it offers. */
export default function News() {
  const [page, setPage] = useState(1);
  const [problem, setProblem] = useState("");
  const { data, error, reload } = useLoaded(() => getPage("/api/notifications", page), [page], REFRESH_MS);
  if (!data) return html`<${Waiting} error=${error} retry=${reload} />`;
  const change = async (method, path) => {
    await call(method, path);
    dispatchEvent(new Event("news-read"));
    await reload();
  };
  const readAll = () => change("POST", "/api/notifications/read").then(() => announce(texts.allRead), (failure) => setProblem(failure.message));
  const go = (next) => {
    setPage(next);
    focusHeading();
  };
  return html`<${Heading}>${texts.title}</${Heading}>
    <${Offers} />
    <p class="problem" role="alert">${problem}</p>
    ${data.total ? html`<p class="actions"><button type="button" class="quiet" onClick=${readAll}>${texts.readAll}</button></p>` : html`<p>${texts.none}</p>`}
    <ul class="news">${data.items.map((item) => html`<${Item} key=${item.notification_id} ...${{ item, change }} />`)}</ul>
    <${Pages} page=${page} pages=${data.pages} go=${go} />`;
}

/** One notification; opening it marks it as read. */
function Item({ item: { notification_id: id, kind, session_id: session, message, created_at: at, read_at: readAt }, change }) {
  const read = () => readAt ?? change("PUT", `/api/notifications/${id}/read`).catch(() => null);
  return html`<li class=${readAt ? "" : "unread"}>
    ${session ? html`<a href=${`#/session/${session}`} onClick=${read}>${message}</a>` : message}
    <small>${readAt ? "" : html`<span class="tag">${texts.unread}</span> `}${texts.kinds[kind] ?? ""} <${When} at=${at} /></small>
  </li>`;
}

function Offers() {
  const [page, setPage] = useState(1);
  const [problem, setProblem] = useState("");
  const { data, reload } = useLoaded(() => getPage("/api/offers", page), [page], REFRESH_MS);
  const heading = useRef(null);
  if (!data?.total) return null;
  const decline = async (offer) => {
    const { product_name: name } = offer;
    if (!(await ask({ title: texts.declineTitle(name), text: texts.declineText, button: texts.decline }))) return;
    await call("PUT", `/api/offers/${offer.offer_id}/decline`).then(() => setProblem(""), (error) => setProblem(error.message));
    await reload();
    heading.current.focus();
  };
  return html`<section class="panel" aria-label=${texts.offers}>
    <h2 ref=${heading} tabindex="-1">${texts.offers}</h2>
    <p class="problem" role="alert">${problem}</p>
    <ul class="news">${data.items.map((offer) => html`<${Offer} key=${offer.offer_id} ...${{ offer, decline }} />`)}</ul>
    <${Pages} page=${page} pages=${data.pages} go=${setPage} />
  </section>`;
}

/** An offer with what there is to do, or how it ended. */
function Offer({ offer, decline }) {
  const { product_name: name, session_id: session, state, expires_at: deadline } = offer;
  useCurrency(offer);
  const link = html`<a href=${`#/session/${session}`}>${name}</a>`;
  if (state !== "open") return html`<li>${link} <small>${price(offer.price_to_pay)} · ${texts.states[state]}</small></li>`;
  return html`<li class="unread">${link} <strong>${texts.pay(price(offer.price_to_pay), dayTime(deadline))}</strong>
    <button type="button" class="quiet" aria-label=${texts.declineOf(name)} onClick=${() => decline(offer)}>${texts.decline}</button></li>`;
}
