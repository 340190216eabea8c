import Account from "./member/account.js";
import List from "./member/list.js";
import News from "./member/news.js";
import Session from "./member/session.js";
import { getPage, hasToken, me, restoreAccount, signOut } from "./lib/api.js";
import { announce } from "./lib/announce.js";
import { nav } from "./lib/messages.js";
import { focusHeading, html, render, useEffect, useLoaded, useRef, useState, Waiting } from "./lib/ui.js";

const main = document.getElementById("main");
const RETRY_MS = 2000;
const NEWS_MS = 30_000;
const ACCOUNT = "#/account";
let returnTo = "#/";

/** Views by the URL's fragment, and who may open them: others are asked to sign in, or see the list. */
const ROUTES = [
  [/^#\/session\/([0-9a-f-]{36})$/i, (id) => html`<${Session} id=${id} key=${keyOf(id)} />`],
  [/^#\/account$/, () => html`<${Account} key=${keyOf(ACCOUNT)} />`],
  [/^#\/news$/, () => html`<${News} key=${keyOf("news")} />`, () => me()],
  [/^#\/admin(?:\/(.*))?$/, (path) => html`<${Console} path=${path ?? ""} />`, () => me()?.is_admin],
  [/(?:)/, () => html`<${List} />`],
];

/** A view with another key starts anew: these show something else to another member. */
const keyOf = (name) => `${name} ${me()?.user_id}`;

function View() {
  const [pattern, view, mayOpen] = ROUTES.find(([pattern]) => pattern.test(location.hash));
  if (!mayOpen || mayOpen()) return view(...location.hash.match(pattern).slice(1));
  if (me()) return html`<${List} />`;
  return hasToken() ? html`<${Waiting} />` : html`<${Account} />`;
}

/** The shop's console. Members never load it. */
function Console({ path }) {
  const [View, setView] = useState(null);
  useEffect(() => void import("./console/console.js").then(({ Console }) => setView(() => Console)), []);
  return View ? html`<${View} path=${path} />` : html`<${Waiting} />`;
}

function Nav() {
  const account = me();
  const link = (hash, text) => html`<a href=${hash} aria-current=${(location.hash || "#/") === hash ? "page" : undefined}>${text}</a>`;
  if (!account) return html`${link("#/", nav.sessions)}${hasToken() ? html`<span class="who">${nav.signingIn}</span>` : link(ACCOUNT, nav.signIn)}`;
  return html`${link("#/", nav.sessions)}${link("#/news", html`${nav.news}<${Unread} key=${account.user_id} />`)}
    ${account.is_admin && link("#/admin", nav.admin)}
    <a class="who" href=${ACCOUNT}>${account.username}</a>
    <button type="button" class="quiet" onClick=${signOut}>${nav.signOut}</button>`;
}

/** How many notifications are unread. A new one is announced. */
function Unread() {
  const { data, reload } = useLoaded(() => getPage("/api/notifications?unread=true", 1, 1), [location.hash], NEWS_MS);
  const newest = useRef(null);
  useEffect(() => {
    addEventListener("news-read", reload);
    return () => removeEventListener("news-read", reload);
  }, [reload]);
  useEffect(() => {
    const [item] = data?.items ?? [];
    if (newest.current !== null && item?.created_at > newest.current) announce(item.message);
    if (data) newest.current = item?.created_at ?? newest.current ?? "";
  }, [data]);
  return data?.total > 0 && html` <span class="count">${data.total}<span class="unseen"> ${nav.unread}</span></span>`;
}

function show() {
  if (location.hash !== ACCOUNT) returnTo = location.hash || "#/";
  render(html`<${Nav} />`, document.getElementById("nav"));
  render(html`<${View} />`, main);
}

function move() {
  show();
  focusHeading();
}

/** Sign in with the stored token, with retries; an invalid one is removed. */
async function signInWithToken() {
  try {
    if (await restoreAccount()) show();
  } catch {
    setTimeout(signInWithToken, RETRY_MS);
  }
}

document.getElementById("skip").addEventListener("click", (event) => {
  event.preventDefault();
  main.focus();
});
addEventListener("hashchange", move);
addEventListener("signed-in", () => (location.hash === ACCOUNT ? (location.hash = returnTo) : move()));
addEventListener("signed-out", () => {
  show();
  if (document.activeElement === document.body) focusHeading(); // the button to sign out is gone
});
addEventListener("token-changed", signInWithToken);
main.replaceChildren();
await signInWithToken();
if (!me()) show();
