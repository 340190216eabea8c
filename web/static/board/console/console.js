// The shop's console: a page per subject, named by the rest of the URL's fragment.

import { common, console as texts, consoleSessions as sessions } from "../lib/messages.js";
import { html, useEffect, useState } from "../lib/ui.js";

/** Subject, its text in the menu, and the module whose default export is its view. */
const SUBJECTS = [
  ["", texts.overview, () => import("./overview.js")],
  ["sessions", sessions.title, () => import("./sessions.js")],
];

/** `path` is what follows `#/admin/`; its first part names the subject, the rest is the view's. */
export function Console({ path }) {
  const [subject, ...rest] = path.split("/");
  const [name, , load] = SUBJECTS.find(([each]) => each === subject) ?? SUBJECTS[0];
  const [View, setView] = useState(null);
  useEffect(() => void load().then((module) => setView(() => module.default)), [name]);
  return html`<nav class="subjects" aria-label=${texts.menu}>
      ${SUBJECTS.map(([each, text]) => html`<a href=${each ? `#/admin/${each}` : "#/admin"} aria-current=${each === name ? "page" : undefined}>${text}</a>`)}
    </nav>
    ${View ? html`<${View} key=${path} rest=${rest} />` : html`<p>${common.loading}</p>`}`;
}
