// After the end: who won, what they were offered, and the files to download.

import { call, get, getFile } from "../lib/api.js";
import { counted } from "../lib/format.js";
import { html, useEffect, useLoaded, useRef } from "../lib/ui.js";
import { useActs } from "./acts.js";
import { consoleSessions as texts } from "./messages.js";
import { money } from "./moments.js";
import { Offers } from "./offers.js";

const WAIT_MS = 2000;
const POLL_MS = 500;

export function Results({ session }) {
  const { session_id: id, currency } = session;
  // Final results never change: once they are there, nothing is asked again.
  const final = useRef(null);
  const read = async () => {
    if (!final.current && !(await get(`/api/leaderboard/${id}`)).provisional) final.current = await get(`/api/results/${id}?page_size=1`);
    return final.current;
  };
  const { data, error } = useLoaded(read, [id], WAIT_MS);
  if (!data) return html`<section class="panel"><h2>${texts.results}</h2><p role="status">${error?.message ?? texts.waiting}</p></section>`;
  return html`<section class="panel"><h2>${texts.results}</h2>
      <p>${texts.resultsText(data.total_winners, counted(data.total_bidders, texts.bidder))} · ${texts.finalPrice} ${money(data.final_price, currency)}</p>
      <h3>${texts.downloads}</h3><${Downloads} id=${id} />
    </section>
    <section class="panel"><h2>${texts.offers}</h2><${Offers} session=${session} bidders=${data.total_bidders} /></section>`;
}

function Downloads({ id }) {
  const isGone = useRef(false);
  useEffect(() => () => (isGone.current = true), []);
  const [act, outcome] = useActs(() => {});
  const download = (kind) => act(async (say) => {
    const file = await (kind === "results" ? smallResults(id) : null) ?? await exported(id, kind, say, isGone);
    if (file) return save(file, `${kind}-${id}.csv`);
  });
  return html`<p class="actions">${Object.entries(texts.files).map(([kind, text]) => html`<button type="button" class="quiet" onClick=${download(kind)}>${text}</button>`)}</p>
    ${outcome}`;
}

/** The results as one answer, or null if they are too many for that. */
function smallResults(id) {
  return getFile(`/api/results/${id}?format=csv`).catch((problem) => {
    if (problem.code !== "results_too_large") throw problem;
    return null;
  });
}

/** The file of an export job, or null if the reader leaves meanwhile. */
async function exported(id, kind, say, isGone) {
  let job = await call("POST", `/api/admin/sessions/${id}/exports`, { kind });
  while (texts.preparing[job.state] && job.state !== "done") {
    say(texts.preparing[job.state]);
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
    if (isGone.current) return null;
    job = await get(`/api/admin/exports/${job.export_id}`);
  }
  if (job.error) throw new Error(job.error);
  say(texts.preparing.done);
  return getFile(`/api/admin/exports/${job.export_id}/file`);
}

/** Hand a file to the browser; the text that says so. */
function save(blob, name) {
  const link = Object.assign(document.createElement("a"), { href: URL.createObjectURL(blob), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
  return texts.saved(name);
}
