import { get, now } from "./api.js";
import { h } from "./dom.js";
import { counted, countdown, price } from "./format.js";

const REFRESH_MS = 5000;
const LAST_MS = 10_000;

/** The list of sessions, newest start first. Returns a function that stops it. */
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

/** New cards; who had come to one by keyboard stays there. */
function replaceCards(list, sessions) {
  const focused = list.contains(document.activeElement) && document.activeElement.getAttribute("href");
  list.replaceChildren(...(sessions.length ? sessions.map(card) : [h("li", {}, "No sessions yet. They appear here by themselves.")]));
  if (focused) list.querySelector(`a[href="${focused}"]`)?.focus({ preventScroll: true });
}

function card(session) {
  return h("li", { class: "card" },
    h("h2", {}, h("a", { href: `#/session/${session.session_id}` }, session.name)),
    h("p", { class: "facts" }, `${counted(session.inventory, "item")} from ${price(session.upset_price)}`),
    timer(session));
}

/** Status and countdown; `tick` keeps it going. */
export function timer(session) {
  const { status, start_time: start, end_time: end } = session;
  return h("p", { class: `timer ${status}`, "data-status": status, "data-start": Date.parse(start), "data-end": Date.parse(end) });
}

export function tick(root) {
  for (const node of root.querySelectorAll(".timer")) {
    const text = remaining(node.dataset);
    if (node.textContent !== text) node.textContent = text;
    node.classList.toggle("last", isLast(node.dataset));
  }
}

/** Whether the last seconds run, which the page shows in another colour. */
function isLast({ status, end }) {
  return status === "active" && end > now() && end - now() <= LAST_MS;
}

function remaining({ status, start, end }) {
  if (status === "ended") return "Ended";
  if (status === "scheduled" && start > now()) return `Starts in ${countdown(start - now())}`;
  if (end <= now()) return "00:00 · results follow";
  return `${status === "inactive" ? "Paused · " : ""}${countdown(end - now())} left`;
}
