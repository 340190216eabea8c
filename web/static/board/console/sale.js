// One session for the shop: what it does now, and what can be done with it.

import { get, now } from "../lib/api.js";
import { countdown } from "../lib/format.js";
import { common } from "../lib/messages.js";
import { Heading, html, useEffect, useLoaded, useState } from "../lib/ui.js";
import { useActs } from "./acts.js";
import { consoleSessions as texts } from "./messages.js";
import { isPlanned, moment, money, zone } from "./moments.js";
import { Results } from "./results.js";
import { Actions } from "./sale-actions.js";
import { Live } from "./sale-live.js";

const REFRESH_MS = 2000;

export default function Sale({ id }) {
  const { data: session, error, reload } = useLoaded(() => get(`/api/sessions/${id}`), [id], REFRESH_MS);
  const [act, outcome] = useActs(reload);
  if (!session) return html`<${Heading}>${error ? common.notAvailable : common.loading}</${Heading}><p>${error?.message}</p>`;
  const { status, start_time: start, end_time: end } = session;
  const times = [(isPlanned(session) ? texts.starts : texts.began)(moment(start)), `${texts.ends[status]} ${moment(end)}`, texts.zone(zone)];
  return html`<${Heading}>${session.name}</${Heading}>
    <p class="bar"><strong>${texts.statuses[status]}</strong> <${Countdown} ...${session} /></p>
    <p class="facts">${times.join(" · ")}</p>
    ${status === "cancelled" && html`<p>${texts.cancelledBecause(moment(session.cancelled_at), session.cancel_reason)}</p>`}
    <${Actions} session=${session} act=${act} />
    ${outcome}
    ${["active", "inactive"].includes(status) && html`<${Live} session=${session} />`}
    ${status === "ended" && html`<${Results} session=${session} />`}
    <section class="panel"><h2>${texts.terms}</h2><${Terms} ...${session} /></section>`;
}

function Countdown({ status, start_time: start, end_time: end }) {
  const [, tick] = useState(0);
  useEffect(() => {
    const timer = setInterval(() => tick((count) => count + 1), 500);
    return () => clearInterval(timer);
  }, []);
  if (["ended", "cancelled"].includes(status)) return null;
  const until = (iso) => Date.parse(iso) - now();
  if (isPlanned({ status, start_time: start })) return html`<span class="timer">${texts.startsIn(countdown(until(start)))}</span>`;
  return html`<span class="timer">${until(end) > 0 ? texts.left(countdown(until(end))) : texts.waiting}</span>`;
}

function Terms(session) {
  const { fields } = texts;
  const terms = [
    [fields.upset_price, money(session.upset_price, session.currency)], [fields.inventory, session.inventory],
    [fields.pricing, texts.pricings[session.pricing]], [fields.allow_lower_bids, texts.lowerBids[session.allow_lower_bids]],
    ...["alpha", "beta", "gamma", "offer_minutes"].map((name) => [fields[name], session[name].toLocaleString()]),
    [fields.offers_end, moment(session.offers_end)],
  ];
  return html`<dl class="stats small">${terms.map(([name, value]) => html`<div><dt>${name}</dt><dd>${value}</dd></div>`)}</dl>`;
}
