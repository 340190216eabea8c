// A list of the API, page by page, with what its rows do.

import { getPage } from "../lib/api.js";
import { counted } from "../lib/format.js";
import { common } from "../lib/messages.js";
import { html, Pages, useLoaded, useRef, useState } from "../lib/ui.js";
import { useActs } from "./acts.js";

const PAGE_SIZE = 20;
const REFRESH_MS = 5000;

/** `row(item, act)` shows an item; `act` is that of useActs. Give it another `key` when `path` changes. */
export function Listing({ path, noun, row }) {
  const [page, setPage] = useState(1);
  const line = useRef();
  const { data, error, reload } = useLoaded(() => getPage(path, page, PAGE_SIZE), [path, page], REFRESH_MS);
  const [act, outcome] = useActs(reload);
  const go = (to) => {
    setPage(to);
    line.current?.focus();
  };
  return html`<p class="problem" role="alert">${error?.message}</p>
    ${outcome}
    <p class="facts" role="status" tabindex="-1" ref=${line}>${data ? counted(data.total, noun) : !error && common.loading}</p>
    <ul class="rows">${data?.items.map((item) => row(item, act))}</ul>
    <${Pages} page=${page} pages=${data?.pages} go=${go} />`;
}

/** Pairs of a term and what it is; those without are left out. */
export const Facts = ({ pairs }) => html`<dl class="stats small">${pairs.filter(([, value]) => value != null)
  .map(([term, value]) => html`<div><dt>${term}</dt><dd>${value}</dd></div>`)}</dl>`;
