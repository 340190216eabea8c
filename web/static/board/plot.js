// The threshold score over time, as an SVG line with its range written beside it.

import { score } from "./format.js";

const NS = "http://www.w3.org/2000/svg";
const [WIDTH, HEIGHT, PAD] = [600, 140, 10];
const MOST_POINTS = 300;

export class Plot {
  constructor() {
    this.points = [];
    this.svg = shape("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", class: "plot", preserveAspectRatio: "none" });
    this.area = shape("path", { class: "area" });
    this.line = shape("path", { class: "line", "vector-effect": "non-scaling-stroke" });
    this.svg.append(this.area, this.line);
    this.range = document.createElement("figcaption");
    this.figure = document.createElement("figure");
    this.figure.append(this.svg, this.range);
  }

  add(atMs, value) {
    if (value == null) return;
    this.points.push([atMs, value]);
    if (this.points.length > MOST_POINTS) this.points.shift();
    this.draw();
  }

  draw() {
    const values = this.points.map(([, value]) => value);
    const [low, high] = [Math.min(...values), Math.max(...values)];
    const [start, end] = [this.points[0][0], this.points.at(-1)[0]];
    const x = (at) => (end === start ? WIDTH : ((at - start) / (end - start)) * WIDTH);
    const y = (value) => (high === low ? HEIGHT / 2 : HEIGHT - PAD - ((value - low) / (high - low)) * (HEIGHT - 2 * PAD));
    let path = `M0 ${y(values[0])}`;
    // Steps: the threshold holds until a bid changes it.
    for (const [at, value] of this.points) path += `H${x(at).toFixed(1)}V${y(value).toFixed(1)}`;
    this.line.setAttribute("d", path);
    this.area.setAttribute("d", `${path}V${HEIGHT}H0Z`);
    const text = `Score to beat ${score(values.at(-1))}, from ${score(low)} to ${score(high)} while watched`;
    this.svg.setAttribute("aria-label", text);
    this.range.textContent = text;
  }
}

function shape(tag, attributes) {
  const element = document.createElementNS(NS, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  return element;
}
