// The threshold score over time: an SVG line with labels at both ends of each axis.

import { now } from "./api.js";
import { age, score } from "./format.js";
import { board as texts } from "./messages.js";
import { html } from "./ui.js";

const [WIDTH, HEIGHT, PAD] = [600, 140, 10];
const MAX_POINTS = 300;

/** Add a score to `points`, pairs of time in milliseconds and score; the oldest ones leave. */
export function addPoint(points, atMs, value) {
  if (value == null) return;
  points.push([atMs, value]);
  if (points.length > MAX_POINTS) points.shift();
}

/** The latest score holds until now; the line continues between bids. */
export function Plot({ points }) {
  if (!points.length) return html`<figure><figcaption>${texts.nothingToBeat}</figcaption></figure>`;
  const values = points.map(([, value]) => value);
  const [low, high] = [Math.min(...values), Math.max(...values)];
  const span = Math.max(now() - points[0][0], 1);
  const path = pathOf(points, low, high, span);
  const [last, lowest, highest, since] = [score(values.at(-1)), score(low), score(high), age(span)];
  return html`<figure>
    <figcaption>${texts.toBeat} <strong>${last}</strong></figcaption>
    <div class="drawing">
      <div class="heights" aria-hidden="true"><span>${highest}</span><span>${low === high ? "" : lowest}</span></div>
      <svg viewBox=${`0 0 ${WIDTH} ${HEIGHT}`} role="img" class="plot" preserveAspectRatio="none" aria-label=${texts.plot(last, lowest, highest, since)}>
        <path class="area" d=${`${path}V${HEIGHT}H0Z`} /><path class="line" vector-effect="non-scaling-stroke" d=${path} />
      </svg>
      <div class="times" aria-hidden="true"><span>${texts.ago(since)}</span><span>${texts.now}</span></div>
    </div>
  </figure>`;
}

/** Steps: the threshold holds until a bid changes it. */
function pathOf(points, low, high, span) {
  const x = (at) => (((at - points[0][0]) / span) * WIDTH).toFixed(1);
  const y = (value) => (high === low ? HEIGHT / 2 : HEIGHT - PAD - ((value - low) / (high - low)) * (HEIGHT - 2 * PAD)).toFixed(1);
  return `M0 ${y(points[0][1])}${points.map(([at, value]) => `H${x(at)}V${y(value)}`).join("")}H${WIDTH}`;
}
