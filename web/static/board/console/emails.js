// E-mails to members: which were sent, and why others were not.

import { Heading, html } from "../lib/ui.js";
import { Channel, Deliveries } from "./deliveries.js";
import { consoleDeliveries as texts } from "./messages.js";

export default function Emails() {
  const about = ({ user_id: user, session_id: session }) => html`<a href="#/admin/members/${user}">${texts.recipient}</a> · <a href="#/admin/sessions/${session}">${texts.session}</a>`;
  return html`<${Heading}>${texts.emails}</${Heading}>
    <${Channel} channel="email" />
    <${Deliveries} path="/api/admin/email-deliveries" about=${about} />`;
}
