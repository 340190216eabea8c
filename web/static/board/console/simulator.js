// What a sale would come to: choose terms and a crowd, or a past session, and see who would win.

import { call, get } from "../lib/api.js";
import { age, price, score, useCurrency } from "../lib/format.js";
import { score as scoreOf } from "../lib/scoring.js";
import { Choice, Field, Form, Heading, html, useEffect, useLoaded, useRef, useState } from "../lib/ui.js";
import { consoleSimulator as texts } from "./messages.js";

const [WIDTH, HEIGHT, PAD, STEPS, SHOWN] = [600, 200, 8, 120, 10];
/** Name, usual value, and bounds of each field. */
const TERMS = [["alpha", 0.5, { min: 0 }], ["beta", 1000, { min: 0 }], ["gamma", 2, { min: 0 }],
  ["upset_price", 100, { min: 0.01, step: "0.01" }], ["inventory", 5, { min: 1, step: 1 }]];
const CROWD = [["duration_minutes", 60, { min: 0 }], ["bidders", 500, { min: 1, step: 1 }],
  ["late_share", 0.2, { min: 0, max: 1 }], ["lowest_price", 100, { min: 0.01, step: "0.01" }], ["highest_price", 300, { min: 0.01, step: "0.01" }],
  ["largest_weight", 2, { min: 1, max: 5 }], ["runs", 20, { min: 1, step: 1 }], ["seed", 1, { min: 0, step: 1 }]];

export default function Simulator() {
  const [past, setPast] = useState(null);
  const [found, setFound] = useState(null);
  const { data: ended } = useLoaded(() => get("/api/admin/sessions?status=ended&page_size=100"), []);
  const simulate = async (values) => {
    const numbers = Object.entries(values).filter(([name]) => name !== "session_id").map(([name, text]) => [name, Number(text)]);
    const result = await call("POST", "/api/admin/simulations", { ...Object.fromEntries(numbers), session_id: past?.session_id });
    if (past) useCurrency(past);
    setFound(result);
  };
  const choose = (event) => {
    setPast(ended.find((session) => session.session_id === event.target.value) ?? null);
    setFound(null);
  };
  const fields = (named) => named.map(([name, usual, bounds]) => html`<${Field} key=${name + past?.session_id} ...${texts.fields[name]} name=${name} type="number" step="any"
    required defaultValue=${past?.[name] ?? usual} ...${bounds} />`);
  const sessions = (ended ?? []).map((session) => [session.session_id, texts.session(session.name, new Date(session.end_time))]);
  return html`<${Heading}>${texts.title}</${Heading}>
    <section class="panel sim"><p class="facts">${texts.about}</p><${Form} label=${texts.title} button=${texts.simulate} submit=${simulate}>
      <${Choice} label=${texts.bids} name="session_id" options=${[["", texts.crowd], ...sessions]} value=${past?.session_id ?? ""} onChange=${choose} />
      ${fields(TERMS)} ${!past && fields(CROWD)}
    </${Form}></section>
    ${found && html`<${Outcome} found=${found} />`}`;
}

function Outcome({ found }) {
  const heading = useRef(null);
  useEffect(() => heading.current.focus(), [found]);
  const figures = [[texts.revenueAsBid, price(found.revenue_as_bid)], [texts.revenueSecondScore, price(found.revenue_second_score)],
    [texts.highestLoses, texts.share(found.highest_bid_losses, found.runs)], [texts.underbid, texts.share(found.underbid_winners, found.winners)],
    [texts.loyalty, price(found.loyalty_worth)], [texts.refused, texts.share(found.refused, found.bids + found.refused)]];
  return html`<section class="panel" aria-labelledby="outcome"><h2 id="outcome" tabindex="-1" ref=${heading}>${texts.outcome(found.bids, found.runs)}</h2>
      <dl class="stats">${figures.map(([name, value]) => html`<div><dt>${name}</dt><dd>${value}</dd></div>`)}</dl></section>
    <div class="columns"><section class="panel"><${Curve} found=${found} /></section><section class="panel"><${Arrivals} found=${found} /></section></div>
    <div class="columns"><section class="panel"><${Table} caption=${texts.secondWorth} head=${[texts.after, texts.worth]}
        rows=${found.second_worth.map(({ response_time, worth }) => [age(response_time * 1000), price(worth)])} /></section>
      <section class="panel"><${Table} caption=${texts.best(Math.min(SHOWN, found.places.length))} head=${[texts.rank, texts.price, texts.arrived, texts.pays]}
        rows=${found.places.slice(0, SHOWN).map((place) => [place.rank, price(place.price), age(place.response_time * 1000), price(place.second_price)])} /></section></div>`;
}

function Table({ caption, head, rows }) {
  return html`<table><caption>${caption}</caption><thead><tr>${head.map((text) => html`<th scope="col">${text}</th>`)}</tr></thead>
    <tbody>${rows.map((cells) => html`<tr>${cells.map((cell) => html`<td>${cell}</td>`)}</tr>`)}</tbody></table>`;
}

/** Early seconds count most, so both plots show time by its logarithm. */
const along = (seconds, last) => (Math.log1p(seconds) / Math.log1p(last)) * WIDTH;
const lastOf = ({ places, second_worth }) => Math.max(1, second_worth.at(-1).response_time, ...places.map((place) => place.response_time));

function heightOf(values) {
  const [low, high] = [Math.min(...values), Math.max(...values)];
  const y = (value) => (high === low ? HEIGHT / 2 : HEIGHT - PAD - ((value - low) / (high - low)) * (HEIGHT - 2 * PAD));
  return [low, high, y];
}

/** The score of the starting price, by when it is bid. */
function Curve({ found }) {
  const last = lastOf(found);
  const times = Array.from({ length: STEPS + 1 }, (_, step) => Math.expm1((step / STEPS) * Math.log1p(last)));
  const scores = times.map((seconds) => scoreOf(found.terms, found.terms.upset_price, seconds, 1));
  const [low, high, y] = heightOf(scores);
  const path = times.map((seconds, at) => `${at ? "L" : "M"}${along(seconds, last).toFixed(1)} ${y(scores[at]).toFixed(1)}`).join("");
  return html`<${Plot} caption=${texts.curve(price(found.terms.upset_price))} high=${score(high)} low=${score(low)} last=${last}>
    <path class="line" d=${path} vector-effect="non-scaling-stroke" /></${Plot}>`;
}

/** Each place of the first run by arrival and price, winners above losers. */
function Arrivals({ found }) {
  const last = lastOf(found);
  const [low, high, y] = heightOf(found.places.map((place) => place.price));
  const dots = (wins) => found.places.filter((place) => place.is_winner === wins)
    .map((place) => `M${along(place.response_time, last).toFixed(1)} ${y(place.price).toFixed(1)}h0`).join("");
  if (!found.places.length) return html`<p>${texts.noBids}</p>`;
  return html`<${Plot} caption=${texts.arrivals} high=${price(high)} low=${price(low)} last=${last}>
      <path class="dots" d=${dots(false)} vector-effect="non-scaling-stroke" /><path class="dots won" d=${dots(true)} vector-effect="non-scaling-stroke" /></${Plot}>
    <p class="facts">${texts.legend}</p>`;
}

function Plot({ caption, high, low, last, children }) {
  return html`<figure><figcaption>${caption}</figcaption><div class="drawing">
    <div class="heights" aria-hidden="true"><span>${high}</span><span>${low}</span></div>
    <svg viewBox="0 0 ${WIDTH} ${HEIGHT}" class="plot" role="img" aria-label=${texts.plotted(caption, low, high)} preserveAspectRatio="none">${children}</svg>
    <div class="times" aria-hidden="true"><span>${texts.start}</span><span>${age(last * 1000)}</span></div></div></figure>`;
}
