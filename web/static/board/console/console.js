// The shop's console: a page per subject, named by the rest of the URL's fragment.

import { common } from "../lib/messages.js";
import { html, useEffect, useState } from "../lib/ui.js";
import {
  console as texts, consoleDeliveries as deliveries, consoleLog as log, consoleMembers as members, consoleSessions as sessions,
  consoleSettings as settings, consoleSimulator, consoleWebhooks as webhooks,
} from "./messages.js";

const style = document.createElement("link");
Object.assign(style, { rel: "stylesheet", href: new URL("console.css", import.meta.url) });
document.head.append(style);

/** Subject, its text in the menu, and the module whose default export is its view. */
const SUBJECTS = [
  ["", texts.overview, () => import("./overview.js")],
  ["sessions", sessions.title, () => import("./sessions.js")],
  ["members", members.title, () => import("./members.js")],
  ["webhooks", webhooks.title, () => import("./webhooks.js")],
  ["emails", deliveries.emails, () => import("./emails.js")],
  ["actions", log.title, () => import("./actions.js")],
  ["settings", settings.title, () => import("./settings.js")],
  ["simulator", consoleSimulator.menu, () => import("./simulator.js")],
];

/** `path` is what follows `#/admin/`; its first part names the subject, the rest is the view's. */
export function Console({ path }) {
  const [subject, ...rest] = path.split("/");
  const [name, , load] = SUBJECTS.find(([each]) => each === subject) ?? SUBJECTS[0];
  const [loaded, setLoaded] = useState({});
  useEffect(() => void load().then((module) => setLoaded({ name, View: module.default })), [name]);
  // While a module loads, the view before must not take the new path for its own.
  const View = loaded.name === name && loaded.View;
  return html`<nav class="subjects" aria-label=${texts.menu}>
      ${SUBJECTS.map(([each, text]) => html`<a href=${each ? `#/admin/${each}` : "#/admin"} aria-current=${each === name ? "page" : undefined}>${text}</a>`)}
    </nav>
    ${View ? html`<${View} key=${path} rest=${rest} />` : html`<p>${common.loading}</p>`}`;
}
