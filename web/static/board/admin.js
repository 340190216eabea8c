import { call, get } from "./api.js";
import { field, form, h } from "./dom.js";

const REFRESH_MS = 2000;
const NUMBERS = ["upset_price", "inventory", "alpha", "beta", "gamma", "duration_minutes"];

/** Key figures and the form for new sessions. Returns a function that stops the updates. */
export function showAdmin(main) {
  const stats = h("dl", { class: "stats" });
  main.replaceChildren(h("h1", {}, "Admin"),
    h("section", { class: "panel", "aria-label": "Key figures" }, stats),
    h("section", { class: "panel" }, h("h2", {}, "New session"), form("New session", fields(), "Create session", create)));
  let before = null;
  const refresh = async () => {
    const read = await get("/api/admin/stats").catch(() => null);
    if (!read) return;
    const at = performance.now();
    const seconds = before && (at - before.at) / 1000;
    const rate = (name) => (seconds ? ((read[name] - before.read[name]) / seconds).toFixed(1) : "–");
    show(stats, [["Backlog", read.persist_backlog], ["Bids accepted", read.bids_accepted], ["Accepted per second", rate("bids_accepted")],
      ["Persisted per second", rate("bids_persisted")], ["Active sessions", read.active_sessions], ["Members", read.total_users]]);
    before = { at, read };
  };
  refresh();
  const timer = setInterval(refresh, REFRESH_MS);
  return () => clearInterval(timer);
}

function show(list, figures) {
  list.replaceChildren(...figures.map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, String(value)))));
}

function fields() {
  const number = (label, name, value, min, step = "any") => field(label, { name, type: "number", value, min, step, required: true });
  return [
    field("Name", { name: "name", required: true, maxlength: 200 }),
    field("Description", { name: "description", maxlength: 1000 }),
    number("Starting price", "upset_price", 100, 0.01, "0.01"), number("Items", "inventory", 5, 1, 1),
    number("Minutes", "duration_minutes", 60, 0), number("Alpha (price)", "alpha", 0.5, 0),
    number("Beta (speed)", "beta", 1000, 0), number("Gamma (weight)", "gamma", 2, 0),
  ];
}

async function create(values) {
  for (const name of NUMBERS) values[name] = Number(values[name]);
  const session = await call("POST", "/api/admin/sessions/combined", values);
  location.hash = `#/session/${session.session_id}`;
}
