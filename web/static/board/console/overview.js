import { get } from "../lib/api.js";
import { Heading, html, useLoaded, useRef } from "../lib/ui.js";
import { console as texts, consoleSessions as sessions } from "./messages.js";

const REFRESH_MS = 2000;

/** The shop's key figures. */
export default function Overview() {
  return html`<${Heading}>${texts.title}</${Heading}>
    <section class="panel" aria-label=${texts.figures}><${Figures} /></section>
    <p><a class="button" href="#/admin/sessions/new">${sessions.create}</a></p>`;
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
