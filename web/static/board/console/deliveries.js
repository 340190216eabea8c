// What was sent by e-mail and to webhooks: each message with its attempts.

import { get } from "../lib/api.js";
import { counted } from "../lib/format.js";
import { Choice, html, useLoaded, useState } from "../lib/ui.js";
import { Listing } from "./listing.js";
import { consoleDeliveries as texts } from "./messages.js";
import { moment } from "./moments.js";

const STATUSES = [["", texts.any], ...Object.entries(texts.statuses)];

/** Whether a channel is on, and how many of its deliveries wait or were given up. */
export function Channel({ channel }) {
  const { data } = useLoaded(() => get("/api/admin/channels"), []);
  const found = data?.find((each) => each.channel === channel);
  return found && html`<p>${found.is_on ? texts.isOn : texts.isOff[channel]} ${texts.backlog(found.waiting, found.given_up)}</p>`;
}

/** Deliveries by status. `about(delivery)` says what was sent to whom, `action(delivery, act)` is a button. */
export function Deliveries({ path, about, action }) {
  const [status, setStatus] = useState("");
  const query = `${path}${status && `${path.includes("?") ? "&" : "?"}status=${status}`}`;
  const row = (delivery, act) => html`<li key=${delivery.delivery_id}>
    <div><p>${about(delivery)}</p>
      <p class="facts"><strong>${texts.statuses[delivery.status]}</strong> · ${progressOf(delivery)}</p></div>
    ${action?.(delivery, act)}
  </li>`;
  return html`<${Choice} label=${texts.status} options=${STATUSES} value=${status} onChange=${(event) => setStatus(event.target.value)} />
    <${Listing} key=${query} path=${query} noun=${texts.message} row=${row} />`;
}

function progressOf({ attempts, last_error: error, created_at: created, next_attempt_at: next, delivered_at: delivered }) {
  const parts = [texts.created(moment(created)), counted(attempts, texts.attempt)];
  if (delivered) parts.push(texts.delivered(moment(delivered)));
  if (next) parts.push(texts.next(moment(next)));
  if (error) parts.push(texts.errors[error] ?? error);
  return parts.join(" · ");
}
