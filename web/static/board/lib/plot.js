// The threshold score over time: an SVG line with labels at both ends of each axis.

import { now } from "./api.js";
import { h } from "./dom.js";
import { age, score } from "./format.js";

const NS = "http://www.w3.org/2000/svg";
const [WIDTH, HEIGHT, PAD] = [600, 140, 10];
const MAX_POINTS = 300;

export class Plot {
  constructor() {
    this.points = [];
    this.svg = shape("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", class: "plot", preserveAspectRatio: "none" });
    this.area = shape("path", { class: "area" });
    this.line = shape("path", { class: "line", "vector-effect": "non-scaling-stroke" });
    this.svg.append(this.area, this.line);
    [this.high, this.low, this.start] = [h("span"), h("span"), h("span")];
    this.caption = h("figcaption", {}, "Score to beat: no bids yet");
    const drawing = h("div", { class: "drawing", hidden: true }, h("div", { class: "heights", "aria-hidden": "true" }, this.high, this.low), this.svg,
      h("div", { class: "times", "aria-hidden": "true" }, this.start, h("span", {}, "now")));
    this.drawing = drawing;
    this.figure = h("figure", {}, this.caption, drawing);
  }

  add(atMs, value) {
    if (value == null) return;
    this.points.push([atMs, value]);
    if (this.points.length > MAX_POINTS) this.points.shift();
    this.draw();
  }

  /** The latest score holds until now, so the line continues between bids. */
  draw() {
    if (!this.points.length) return;
    const values = this.points.map(([, value]) => value);
    const [low, high] = [Math.min(...values), Math.max(...values)];
    const start = this.points[0][0];
    const span = Math.max(now() - start, 1);
    const x = (at) => ((at - start) / span) * WIDTH;
    const y = (value) => (high === low ? HEIGHT / 2 : HEIGHT - PAD - ((value - low) / (high - low)) * (HEIGHT - 2 * PAD));
    let path = `M0 ${y(values[0])}`;
    // Steps: the threshold holds until a bid changes it.
    for (const [at, value] of this.points) path += `H${x(at).toFixed(1)}V${y(value).toFixed(1)}`;
    path += `H${WIDTH}`;
    this.line.setAttribute("d", path);
    this.area.setAttribute("d", `${path}V${HEIGHT}H0Z`);
    this.label(score(values.at(-1)), score(low), score(high), age(span));
  }

  label(last, low, high, since) {
    this.drawing.hidden = false;
    this.caption.replaceChildren("Score to beat ", h("strong", {}, last));
    this.high.textContent = high;
    this.low.textContent = low === high ? "" : low;
    this.start.textContent = `${since} ago`;
    this.svg.setAttribute("aria-label", `Score to beat ${last}, from ${low} to ${high} in the last ${since}`);
  }
}

function shape(tag, attributes) {
  const element = document.createElementNS(NS, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  return element;
}
