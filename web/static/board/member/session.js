import { announce } from "../lib/announce.js";
import { call, get, me } from "../lib/api.js";
import { facts, price, score, useCurrency } from "../lib/format.js";
import { board as texts } from "../lib/messages.js";
import { Plot } from "../lib/plot.js";
import { Timer } from "../lib/timer.js";
import { Heading, html, useEffect, useLoaded, useRef, useState, Waiting } from "../lib/ui.js";
import { Bidding } from "./bidding.js";
import { Outcome } from "./outcome.js";
import { Sale } from "./sale.js";

/** One session. */
export default function Session({ id }) {
  const { data: session, error, reload } = useLoaded(() => get(`/api/sessions/${id}`), [id]);
  return session ? html`<${SessionView} session=${session} />` : html`<${Waiting} error=${error} retry=${reload} />`;
}

function SessionView({ session: loaded }) {
  const [, refresh] = useState({});
  const ref = useRef(null);
  const sale = (ref.current ??= new Sale(loaded, () => refresh({})));
  useEffect(() => sale.start(), []);
  const { session, link, board, results } = sale;
  useCurrency(session);
  return html`<${Heading}>${session.name}</${Heading}>
    ${session.description && html`<p>${session.description}</p>`}
    <div class="bar"><${Timer} session=${session} /><p class="state" id="state">${stateText(session, link, results)}</p></div>
    <p class="facts">${facts(session)}</p>
    ${me()?.is_admin && html`<${AdminActions} sale=${sale} />`}
    ${results && html`<${Outcome} sale=${sale} />`}
    <div class="session">
      <${Bidding} sale=${sale} />
      <${Board} entries=${board?.leaderboard} inventory=${session.inventory} isStale=${link === "offline"} />
      <section class="panel plotted" aria-label=${texts.threshold}><${Plot} points=${sale.points} /></section>
    </div>`;
}

function stateText({ status }, link, results) {
  if (status === "cancelled") return texts.cancelled;
  return results ? texts.final : texts.links[link];
}

/** The listed places. */
function Board({ entries, inventory, isStale }) {
  return html`<table id="board" class=${isStale ? "stale" : ""}>
    <caption>${texts.caption(inventory)}</caption>
    <thead><tr>${texts.heads.map((name) => html`<th scope="col">${name}</th>`)}</tr></thead>
    <tbody>${entries?.map((entry) => html`<${Row} key=${entry.user_id} ...${{ entry, inventory }} />`)}
      ${entries?.length === 0 && html`<tr><td colspan="4">${texts.noBids}</td></tr>`}</tbody>
  </table>`;
}

/** A row; the one of the last winning rank has a line below it. */
function Row({ entry, inventory }) {
  const isOwn = entry.user_id === me()?.user_id;
  const classes = [isOwn && "own", entry.rank === inventory && "last-winner", entry.is_winner && "wins"].filter(Boolean);
  return html`<tr class=${classes.join(" ")}>
    <td>${entry.rank}</td>
    <th scope="row" title=${entry.username}><span class="name">${entry.username}</span>${isOwn && html`<span class="tag">${texts.you}</span>`}</th>
    <td>${price(entry.price)}</td><td>${score(entry.score)}</td>
  </tr>`;
}

function AdminActions({ sale }) {
  const [problem, setProblem] = useState("");
  const run = async (verb) => {
    try {
      sale.session = { ...sale.session, ...(await call("PUT", `/api/admin/sessions/${sale.session.session_id}/${verb}`)) };
      setProblem("");
      sale.changed();
    } catch (error) {
      announce(error.message);
      setProblem(error.message);
    }
  };
  return html`<p class="actions">
    ${Object.entries(texts.verbs).map(([verb, text]) => html`<button type="button" class="quiet" onClick=${() => run(verb)}>${text}</button>`)}
    <span class="problem">${problem}</span>
  </p>`;
}
