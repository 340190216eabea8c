// Times and amounts, as the console shows and takes them.

import { now } from "../lib/api.js";

const moments = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });

/** The reader's time zone, such as Europe/Berlin. */
export const zone = moments.resolvedOptions().timeZone;

/** A time in the reader's zone. */
export const moment = (iso) => (iso ? moments.format(new Date(iso)) : "–");

export const money = (value, currency) =>
  (value == null ? "–" : new Intl.NumberFormat(undefined, { style: "currency", currency }).format(value));

/** What an input of type datetime-local has for a time, in the reader's zone. */
export function toInput(iso) {
  if (!iso) return "";
  const at = new Date(iso);
  return new Date(at - at.getTimezoneOffset() * 60_000).toISOString().slice(0, 19);
}

/** The time in UTC that such an input means, or null. */
export const toUtc = (value) => (value ? new Date(value).toISOString() : null);

// How far the clock of `now` may be behind the server's, which only boards tell exactly.
const CLOCK_ERROR_MS = 1000;

/** Whether a session is yet to start, also one that was paused before. */
export const isPlanned = ({ status, start_time: start }) =>
  status === "scheduled" || (status === "inactive" && Date.parse(start) > now() + CLOCK_ERROR_MS);

export const minutesLater = (iso, minutes) => new Date(Date.parse(iso) + minutes * 60_000).toISOString();
