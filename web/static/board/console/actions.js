// The log of what admins and operators did.

import { Heading, html } from "../lib/ui.js";
import { Facts, Listing } from "./listing.js";
import { consoleLog as texts } from "./messages.js";
import { moment } from "./moments.js";

export default function Log() {
  return html`<${Heading}>${texts.title}</${Heading}>
    <${Listing} path="/api/admin/actions" noun=${texts.action} row=${row} />`;
}

function row({ action_id: id, action, actor, outcome, created_at: at, details }) {
  const pairs = flat(details);
  return html`<li key=${id}>
    <div><p><strong>${action.replaceAll(/[-_]/g, " ")}</strong> · ${texts.by(actor)}</p>
      <p class="facts">${moment(at)} · <span class=${outcome === "done" ? "" : "problem"}>${texts.outcomes[outcome]}</span></p>
      ${pairs.length > 0 && html`<details><summary>${texts.details}</summary><${Facts} pairs=${pairs} /></details>`}</div>
  </li>`;
}

/** Pairs of a name and a text; those of a nested object stand beside the others. */
const flat = (details) => Object.entries(details).flatMap(([name, value]) => (
  value && typeof value === "object" && !Array.isArray(value) ? flat(value) : [[name, value == null ? null : String(value)]]));
