// Webhooks: the shop's systems that are told of events, and what was sent to them.

import { Heading, html } from "../lib/ui.js";
import { Channel } from "./deliveries.js";
import { Listing } from "./listing.js";
import { consoleDeliveries as sent, consoleWebhooks as texts } from "./messages.js";
import { Endpoint, NewEndpoint, SentWebhooks, State } from "./webhooks-endpoint.js";

/** `rest`: nothing, `new`, or an endpoint's id. */
export default function Webhooks({ rest: [id] }) {
  if (id === "new") return html`<${NewEndpoint} />`;
  if (id) return html`<${Endpoint} id=${id} />`;
  return html`<${Heading}>${texts.title}</${Heading}>
    <${Channel} channel="webhook" />
    <section class="panel"><h2>${texts.endpoints}</h2>
      <p><a class="button" href="#/admin/webhooks/new">${texts.add}</a></p>
      <${Listing} path="/api/admin/webhook-endpoints" noun=${texts.endpoint} row=${row} /></section>
    <section class="panel"><h2>${sent.title}</h2><${SentWebhooks} /></section>`;
}

const row = (endpoint) => html`<li key=${endpoint.endpoint_id}>
  <div><h3><a href="#/admin/webhooks/${endpoint.endpoint_id}">${endpoint.url ?? texts.bySetting}</a></h3>
    <${State} ...${endpoint} />
    <p class="facts">${endpoint.events.join(", ")}</p></div>
</li>`;
