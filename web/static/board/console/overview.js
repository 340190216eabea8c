import { call, get } from "../lib/api.js";
import { console as texts } from "../lib/messages.js";
import { Field, Form, Heading, html, useLoaded, useRef } from "../lib/ui.js";

const REFRESH_MS = 2000;
const NUMBERS = ["upset_price", "inventory", "alpha", "beta", "gamma", "duration_minutes"];

/** Key figures and the form for new sessions. */
export default function Overview() {
  return html`<${Heading}>${texts.title}</${Heading}>
    <section class="panel" aria-label=${texts.figures}><${Figures} /></section>
    <section class="panel"><h2>${texts.newSession}</h2><${NewSession} /></section>`;
}

function Figures() {
  const before = useRef(null);
  const read = async () => {
    const stats = await get("/api/admin/stats");
    const at = performance.now();
    const seconds = before.current && (at - before.current.at) / 1000;
    const rate = (name) => (seconds ? ((stats[name] - before.current.stats[name]) / seconds).toFixed(1) : "–");
    const figures = [[texts.backlog, stats.persist_backlog], [texts.accepted, stats.bids_accepted], [texts.acceptedRate, rate("bids_accepted")],
      [texts.persistedRate, rate("bids_persisted")], [texts.activeSessions, stats.active_sessions], [texts.members, stats.total_users]];
    before.current = { at, stats };
    return figures;
  };
  const { data } = useLoaded(read, [], REFRESH_MS);
  return html`<dl class="stats">${data?.map(([name, value]) => html`<div><dt>${name}</dt><dd>${value}</dd></div>`)}</dl>`;
}

function NewSession() {
  const number = (label, name, value, min, step = "any") => html`<${Field} ...${{ label, name, type: "number", defaultValue: value, min, step, required: true }} />`;
  return html`<${Form} label=${texts.newSession} button=${texts.create} submit=${create}>
    <${Field} label=${texts.name} name="name" required maxlength="200" />
    <${Field} label=${texts.description} name="description" maxlength="1000" />
    ${number(texts.startingPrice, "upset_price", 100, 0.01, "0.01")} ${number(texts.items, "inventory", 5, 1, 1)}
    ${number(texts.minutes, "duration_minutes", 60, 0)} ${number(texts.alpha, "alpha", 0.5, 0)}
    ${number(texts.beta, "beta", 1000, 0)} ${number(texts.gamma, "gamma", 2, 0)}
  </${Form}>`;
}

async function create(values) {
  for (const name of NUMBERS) values[name] = Number(values[name]);
  const session = await call("POST", "/api/admin/sessions/combined", values);
  location.hash = `#/session/${session.session_id}`;
}
