// Members: find them, see what they were offered, disable and enable them.

import { call, get, me } from "../lib/api.js";
import { score } from "../lib/format.js";
import { common } from "../lib/messages.js";
import { ask, Field, Heading, html, useLoaded, useState } from "../lib/ui.js";
import { useActs } from "./acts.js";
import { Facts, Listing } from "./listing.js";
import { consoleMembers as texts, consoleSessions as sales } from "./messages.js";
import { moment, money } from "./moments.js";

// Kept after the view is left, so that the way back leads to the same members.
let latest = "";

/** `rest`: nothing, or a member's id. */
export default function Members({ rest: [id] }) {
  return id ? html`<${One} id=${id} />` : html`<${List} />`;
}

function List() {
  const [search, setSearch] = useState(latest);
  const find = (event) => {
    event.preventDefault();
    setSearch(latest = new FormData(event.target).get("search"));
  };
  return html`<${Heading}>${texts.title}</${Heading}>
    <form role="search" aria-label=${texts.find} class="filter" onSubmit=${find}>
      <${Field} label=${texts.search} name="search" type="search" defaultValue=${search} maxlength="100" />
      <button type="submit" class="quiet">${texts.find}</button>
    </form>
    <${Listing} key=${search} path="/api/admin/members?search=${encodeURIComponent(search)}" noun=${texts.member} row=${row} />`;
}

const row = (member, act) => html`<li key=${member.user_id}>
  <div><h2><a href="#/admin/members/${member.user_id}">${member.username}</a></h2>
    <p class="facts">${member.email} · <strong>${standingOf(member)}</strong></p></div>
  <${Access} member=${member} act=${act} />
</li>`;

/** What the member may do now. */
function standingOf({ is_admin: isAdmin, is_disabled: isDisabled, is_erased: isErased }) {
  if (isErased) return texts.erased;
  const role = isAdmin ? texts.admin : texts.plain;
  return isDisabled ? `${role}, ${texts.isDisabled}` : role;
}

/** The button that disables or enables a member. There is none for the own account. */
function Access({ member: { user_id: id, username, is_disabled: isDisabled, is_erased: isErased }, act }) {
  if (isErased || id === me()?.user_id) return null;
  const verb = isDisabled ? "enable" : "disable";
  const { button, title, text, done } = texts[verb];
  const change = act(async () => {
    if (!await ask({ title: title(username), text, button })) return "";
    await call("PUT", `/api/admin/members/${id}/${verb}`);
    return done(username);
  });
  return html`<p class="actions"><button type="button" class="quiet" aria-label="${button}: ${username}" onClick=${change}>${button}</button></p>`;
}

function One({ id }) {
  const path = `/api/admin/members/${id}`;
  const { data: member, error, reload } = useLoaded(() => get(path), [id]);
  const [act, outcome] = useActs(reload);
  if (!member) return html`<${Heading}>${error ? common.notAvailable : common.loading}</${Heading}><p>${error?.message}</p>`;
  return html`<${Heading}>${member.username}</${Heading}>
    <section class="panel" aria-label=${texts.account}>
      <${Facts} pairs=${[[texts.standing, standingOf(member)], [texts.email, member.email], [texts.weight, score(member.weight)],
        [texts.joined, moment(member.created_at)]]} />
      <${Access} member=${member} act=${act} />
      ${outcome}
    </section>
    <section class="panel"><h2>${texts.offers}</h2><${Listing} path="${path}/offers" noun=${sales.offer} row=${offerRow} /></section>
    <p><a href="#/admin/members">${texts.back}</a></p>`;
}

const offerRow = (offer) => html`<li key=${offer.offer_id}>
  <div><h3><a href="#/admin/sessions/${offer.session_id}">${offer.product_name}</a></h3>
    <p>${texts.rank(offer.rank)} · ${sales.pays(money(offer.price_to_pay, offer.currency))}</p>
    <p class="facts"><strong>${sales.states[offer.state]}</strong> ${offer.settled_at ? sales.settled(moment(offer.settled_at)) : sales.payBy(moment(offer.expires_at))}</p></div>
</li>`;
