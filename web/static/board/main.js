import { showAccount } from "./member/account.js";
import { call, get, hasToken, me, restoreAccount, signOut } from "./lib/api.js";
import { h } from "./lib/dom.js";
import { common, nav } from "./lib/messages.js";
import { html, render } from "./lib/ui.js";
import { showList } from "./member/list.js";
import { showSession } from "./member/session.js";

const main = document.getElementById("main");
const RETRY_MS = 2000;
let stop = () => {};
let routeRequest = 0;
let newsRequest = 0;

/** A view that the URL's fragment names: its pattern and who may open it. */
const ROUTES = [
  [/^#\/session\/([0-9a-f-]{36})$/i, (id) => showSession(main, id)],
  [/^#\/account$/, () => showAccount(main), () => !me()],
  [/^#\/admin(?:\/(.*))?$/, showConsole, () => me()?.is_admin],
  [/(?:)/, () => showList(main)],
];

/** Show the view that the URL names, unless the URL changes meanwhile. */
async function route() {
  const own = ++routeRequest;
  stop();
  stop = () => {};
  showNav();
  showNews();
  try {
    const stopNew = await show(location.hash);
    if (own === routeRequest) stop = stopNew;
    else stopNew();
  } catch (error) {
    if (own !== routeRequest) return;
    main.replaceChildren(h("h1", {}, common.notAvailable), h("p", {}, error.message));
    if (error.status === 0 || error.status >= 500) setTimeout(() => own === routeRequest && route(), RETRY_MS);
  }
}

function show(hash) {
  const [pattern, open] = ROUTES.find(([pattern, , mayOpen]) => pattern.test(hash) && (!mayOpen || mayOpen()));
  return open(...hash.match(pattern).slice(1));
}

/** The shop's console. Members never load it. */
async function showConsole(path) {
  const { Console } = await import("./console/console.js");
  return mount(html`<${Console} path=${path ?? ""} />`);
}

/** Render a Preact view; a function that removes it. */
function mount(view) {
  main.replaceChildren();
  render(view, main);
  return () => render(null, main);
}

function showNav() {
  const account = me();
  const out = h("button", { type: "button", class: "quiet", click: signOut }, nav.signOut);
  const guest = hasToken() ? h("span", { class: "who" }, nav.signingIn) : h("a", { href: "#/account" }, nav.signIn);
  document.getElementById("nav").replaceChildren(h("a", { href: "#/" }, nav.sessions),
    account?.is_admin ? h("a", { href: "#/admin" }, nav.admin) : "",
    ...(account ? [h("span", { class: "who" }, account.username), out] : [guest]));
}

/** Unread notifications of closed sessions. Only the latest request is shown; errors are ignored. */
async function showNews() {
  const own = ++newsRequest;
  const found = me() ? await get("/api/notifications?unread=true").catch(() => []) : [];
  if (own !== newsRequest) return;
  const news = document.getElementById("news");
  news.replaceChildren(...found.map(newsItem));
  news.hidden = !found.length;
}

/** One outcome; opening it marks it as read. */
function newsItem({ notification_id: id, session_id: session, message }) {
  const read = () => call("PUT", `/api/notifications/${id}/read`).then(showNews, () => null);
  return h("li", {}, h("a", { href: `#/session/${session}`, click: read }, message));
}

/** Sign in with the stored token, with retries; an invalid one is removed. */
async function signInWithToken() {
  try {
    if (await restoreAccount()) dispatchEvent(new Event("signed-in"));
  } catch {
    setTimeout(signInWithToken, RETRY_MS);
  }
}

document.getElementById("skip").addEventListener("click", (event) => {
  event.preventDefault();
  main.focus();
});
addEventListener("hashchange", route);
addEventListener("signed-out", route);
addEventListener("signed-in", () => (location.hash === "#/account" ? (location.hash = "#/") : route()));
await signInWithToken();
if (!me()) route();
