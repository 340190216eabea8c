// The shop's sessions: a list, and a page for each.

import { getPage } from "../lib/api.js";
import { counted } from "../lib/format.js";
import { common } from "../lib/messages.js";
import { Choice, Field, Heading, html, Pages, useLoaded, useState } from "../lib/ui.js";
import { consoleSessions as texts } from "./messages.js";
import { money, moment } from "./moments.js";
import Sale from "./sale.js";
import { EditSession, NewSession } from "./sessions-form.js";

const PAGE_SIZE = 20;
const REFRESH_MS = 5000;
const STATUSES = [["", texts.anyStatus], ...Object.entries(texts.statuses)];
// Kept after the view is left, so that the way back leads to the same page.
let latest = { status: "", search: "", page: 1 };

/** `rest`: nothing, `new`, `new/<the session to copy>`, `<session>` or `<session>/edit`. */
export default function Sessions({ rest: [id, verb] }) {
  if (!id) return html`<${List} />`;
  if (id === "new") return html`<${NewSession} copied=${verb} />`;
  return verb === "edit" ? html`<${EditSession} id=${id} />` : html`<${Sale} id=${id} />`;
}

function List() {
  const [filter, setFilter] = useState(latest);
  const choose = (change) => setFilter((latest = { ...latest, page: 1, ...change }));
  const { data, error } = useLoaded(() => getPage(`/api/admin/sessions?${queryOf(filter)}`, filter.page, PAGE_SIZE), [filter], REFRESH_MS);
  const search = (event) => {
    event.preventDefault();
    choose(Object.fromEntries(new FormData(event.target)));
  };
  return html`<${Heading}>${texts.title}</${Heading}>
    <p><a class="button" href="#/admin/sessions/new">${texts.create}</a></p>
    <form role="search" aria-label=${texts.find} class="filter" onSubmit=${search}>
      <${Field} label=${texts.search} name="search" type="search" defaultValue=${filter.search} maxlength="200" />
      <${Choice} label=${texts.status} name="status" options=${STATUSES} value=${filter.status} onChange=${(event) => event.target.form.requestSubmit()} />
      <button type="submit" class="quiet">${texts.find}</button>
    </form>
    <p class="problem" role="alert">${error?.message}</p>
    ${data ? html`<p class="facts" role="status">${counted(data.total, texts.session)}</p>` : !error && html`<p>${common.loading}</p>`}
    <ul class="rows">${data?.items.map((session) => html`<${Row} key=${session.session_id} ...${session} />`)}</ul>
    <${Pages} page=${filter.page} pages=${data?.pages} go=${(page) => choose({ page })} />`;
}

function queryOf({ status, search }) {
  const query = new URLSearchParams({ search });
  if (status) query.set("status", status);
  return query;
}

function Row({ session_id: id, name, status, start_time: start, end_time: end, inventory, upset_price: from, currency }) {
  const when = status === "scheduled" ? texts.starts(moment(start)) : `${texts.ends[status]} ${moment(end)}`;
  return html`<li>
    <div><h2><a href="#/admin/sessions/${id}">${name}</a></h2>
      <p class="facts"><strong>${texts.statuses[status]}</strong> · ${when} · ${texts.stock(counted(inventory, texts.item), money(from, currency))}</p></div>
    <p class="actions"><a href="#/admin/sessions/new/${id}" aria-label=${texts.duplicateOf(name)}>${texts.duplicate}</a></p>
  </li>`;
}
