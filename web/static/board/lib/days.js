// Moments on the wall clock, as people say them.

import { locale } from "./format.js";
import { html } from "./ui.js";

const DAY_MS = 86_400_000;
// The page's language, as it is written where the browser is.
const page = document.documentElement.lang;
const language = locale.startsWith(page) ? locale : page;
const days = new Intl.RelativeTimeFormat(language, { numeric: "auto" });
const weekday = new Intl.DateTimeFormat(language, { weekday: "long" });
const date = new Intl.DateTimeFormat(language, { dateStyle: "medium" });
const time = new Intl.DateTimeFormat(locale, { timeStyle: "short" });
const whole = new Intl.DateTimeFormat(locale, { dateStyle: "full", timeStyle: "long" });

const midnight = (at) => new Date(at).setHours(0, 0, 0, 0);

/** Tomorrow 18:00, Friday 18:00, 24 Dec 2026 18:00: in the browser's time zone. */
export function dayTime(iso) {
  const at = new Date(iso);
  // Rounded, since a day may have 23 or 25 hours.
  const ahead = Math.round((midnight(at) - midnight(Date.now())) / DAY_MS);
  const near = Math.abs(ahead) <= 1 ? days.format(ahead, "day") : ahead > 1 && ahead < 7 ? weekday.format(at) : date.format(at);
  return `${near[0].toUpperCase()}${near.slice(1)} ${time.format(at)}`;
}

/** A moment, with its time zone for who asks. */
export const When = ({ at }) => html`<time datetime=${at} title=${whole.format(new Date(at))}>${dayTime(at)}</time>`;
