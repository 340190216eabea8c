// A running session's figures.

import { get } from "../lib/api.js";
import { score } from "../lib/format.js";
import { html, useLoaded, useRef } from "../lib/ui.js";
import { consoleSessions as texts } from "./messages.js";
import { money } from "./moments.js";

const REFRESH_MS = 2000;
const POINTS = 60;
const [WIDTH, HEIGHT] = [600, 80];

export function Live({ session: { session_id: id, currency } }) {
  const moments = useRef([]);
  const read = async () => {
    const [board, stats] = await Promise.all([get(`/api/leaderboard/${id}`), get(`/api/admin/sessions/${id}/stats`)]);
    const [at, bids, before] = [performance.now(), stats.bids_accepted, moments.current.at(-1)];
    const rate = before ? (bids - before.bids) / ((at - before.at) / 1000) : 0;
    moments.current = [...moments.current, { at, bids, rate }].slice(-POINTS);
    return [[texts.rate, rate.toFixed(1)], [texts.backlog, stats.persist_backlog], [texts.threshold, score(board.threshold_score)],
      [texts.highest, money(board.highest_bid, currency)], [texts.bidders, board.total_count]];
  };
  const { data, error } = useLoaded(read, [id], REFRESH_MS);
  return html`<section class="panel" aria-label=${texts.figures}>
    <dl class="stats">${data?.map(([name, value]) => html`<div><dt>${name}</dt><dd>${value}</dd></div>`)}</dl>
    <p class="problem">${error?.message}</p>
    <${Rates} rates=${moments.current.map(({ rate }) => rate)} />
  </section>`;
}

/** The latest rates as a line, the newest at the right edge. */
function Rates({ rates }) {
  const high = Math.max(1, ...rates);
  const x = (index) => (WIDTH * (index + POINTS - rates.length)) / (POINTS - 1);
  const points = rates.map((rate, index) => `${x(index).toFixed(1)},${(HEIGHT * (1 - rate / high)).toFixed(1)}`);
  return html`<figure class="rates">
    <figcaption>${texts.plot((POINTS * REFRESH_MS) / 1000, high.toFixed(1))}</figcaption>
    <svg viewBox="0 0 ${WIDTH} ${HEIGHT}" preserveAspectRatio="none" aria-hidden="true">
      <polyline class="line" vector-effect="non-scaling-stroke" points=${points.join(" ")} />
    </svg>
  </figure>`;
}
