import { now } from "./api.js";
import { countdown } from "./format.js";
import { timer as texts } from "./messages.js";
import { html, useEffect, useState } from "./ui.js";

const TICK_MS = 250;
const LAST_SECONDS_MS = 10_000;

/** A session's status and countdown. */
export function Timer({ session: { status, start_time: start, end_time: end } }) {
  const [, tick] = useState();
  useEffect(() => {
    const timer = setInterval(() => tick({}), TICK_MS);
    return () => clearInterval(timer);
  }, []);
  const times = { status, start: Date.parse(start), end: Date.parse(end) };
  return html`<p class=${`timer ${status} ${isInLastSeconds(times) ? "last" : ""}`} data-status=${status} data-start=${times.start} data-end=${times.end}>
    ${remaining(times)}</p>`;
}

/** Whether the last seconds are running; they have another colour. */
export function isInLastSeconds({ status, end }) {
  return status === "active" && end > now() && end - now() <= LAST_SECONDS_MS;
}

function remaining({ status, start, end }) {
  if (status === "ended" || status === "cancelled") return texts[status];
  if (status === "scheduled" && start > now()) return texts.startsIn(countdown(start - now()));
  if (end <= now()) return texts.waiting;
  return `${status === "inactive" ? texts.paused : ""}${texts.left(countdown(end - now()))}`;
}
