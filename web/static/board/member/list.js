import { get, now } from "../lib/api.js";
import { h } from "../lib/dom.js";
import { countdown, facts } from "../lib/format.js";

const REFRESH_MS = 5000;
const LAST_SECONDS_MS = 10_000;

/** The list of sessions, latest start first. Returns a function that stops the updates. */
export function showList(main) {
  const list = h("ul", { class: "cards" }, h("li", {}, "Loading …"));
  let shown = "";
  main.replaceChildren(h("h1", {}, "Sessions"), list);
  const refresh = async () => {
    const sessions = await get("/api/sessions?page_size=50").catch(() => null);
    if (!sessions || shown === JSON.stringify(sessions)) return;
    shown = JSON.stringify(sessions);
    replaceCards(list, sessions);
    tick(main);
  };
  refresh();
  const timers = [setInterval(refresh, REFRESH_MS), setInterval(() => tick(main), 250)];
  return () => timers.forEach(clearInterval);
}

/** Replace the cards; the focused one keeps the focus. */
function replaceCards(list, sessions) {
  const focused = list.contains(document.activeElement) && document.activeElement.getAttribute("href");
  list.replaceChildren(...(sessions.length ? sessions.map(card) : [h("li", {}, "No sessions yet. New ones appear here automatically.")]));
  if (focused) list.querySelector(`a[href="${focused}"]`)?.focus({ preventScroll: true });
}

function card(session) {
  return h("li", { class: "card" },
    h("h2", {}, h("a", { href: `#/session/${session.session_id}` }, session.name)),
    h("p", { class: "facts" }, facts(session)),
    timer(session));
}

/** Status and countdown, updated by `tick`. */
export function timer(session) {
  const { status, start_time: start, end_time: end } = session;
  return h("p", { class: `timer ${status}`, "data-status": status, "data-start": Date.parse(start), "data-end": Date.parse(end) });
}

export function tick(root) {
  for (const node of root.querySelectorAll(".timer")) {
    const text = remaining(node.dataset);
    if (node.textContent !== text) node.textContent = text;
    node.classList.toggle("last", isInLastSeconds(node.dataset));
  }
}

/** Whether the last seconds are running; they have another colour. */
function isInLastSeconds({ status, end }) {
  return status === "active" && end > now() && end - now() <= LAST_SECONDS_MS;
}

function remaining({ status, start, end }) {
  if (status === "ended") return "Ended";
  if (status === "cancelled") return "Cancelled";
  if (status === "scheduled" && start > now()) return `Starts in ${countdown(start - now())}`;
  if (end <= now()) return "00:00 · waiting for results";
  return `${status === "inactive" ? "Paused · " : ""}${countdown(end - now())} left`;
}
