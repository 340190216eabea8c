// What runs with which settings, at a glance.

import { get } from "../lib/api.js";
import { common } from "../lib/messages.js";
import { Heading, html, useLoaded } from "../lib/ui.js";
import { Facts } from "./listing.js";
import { consoleSettings as texts } from "./messages.js";

const numbers = new Intl.NumberFormat();
// 0 switches these off.
const BOUND = /_PER_|_WAIT_/;

export default function Settings() {
  const { data, error } = useLoaded(() => get("/api/admin/settings"), []);
  return html`<${Heading}>${texts.title}</${Heading}>
    ${data ? html`<${Found} ...${data} />` : html`<p role="status">${error?.message ?? common.loading}</p>`}`;
}

function Found({ versions, redis, findings, confirming_replicas: replicas, channels, settings }) {
  const panel = (title, pairs, ...told) => html`<section class="panel"><h2>${title}</h2>${told}<${Facts} pairs=${pairs} /></section>`;
  const found = findings.length ? findings.map((finding) => html`<p class="problem">${finding}</p>`) : html`<p>${texts.safe}</p>`;
  const kept = redis.flatMap((node) => ["appendonly", "appendfsync", "maxmemory_policy"].map((name) => [words(name), shown(name, node[name])]));
  return html`
    ${panel(texts.durability, [...kept, [texts.replicas, replicas]], found)}
    ${panel(texts.channels, Object.entries(channels).map(([name, isOn]) => [texts.channel[name], shown(name, isOn)]))}
    ${panel(texts.inEffect, Object.entries(settings).map(([name, value]) => [words(name), shown(name, value)]))}
    ${panel(texts.versions, Object.entries(versions).map(([name, version]) => [words(name), version]))}`;
}

/** A name in words: BID_RATE_BURST is "Bid rate burst". */
const words = (name) => name[0].toUpperCase() + name.slice(1).toLowerCase().replaceAll("_", " ");

function shown(name, value) {
  if (value == null) return texts.unknown;
  if (typeof value === "boolean") return value ? texts.on : texts.off;
  if (value === 0 && BOUND.test(name)) return texts.noLimit;
  return typeof value === "number" ? numbers.format(value) : value;
}
