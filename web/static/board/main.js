import { showAccount } from "./account.js";
import { showAdmin } from "./admin.js";
import { call, get, hasToken, me, restoreAccount, signOut } from "./api.js";
import { h } from "./dom.js";
import { showList } from "./list.js";
import { showSession } from "./session.js";

const main = document.getElementById("main");
const RETRY_MS = 2000;
let stop = () => {};
let routeRequest = 0;
let newsRequest = 0;

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
    main.replaceChildren(h("h1", {}, "Not available"), h("p", {}, error.message));
    if (error.status === 0 || error.status >= 500) setTimeout(() => own === routeRequest && route(), RETRY_MS);
  }
}

function show(hash) {
  const session = hash.match(/^#\/session\/([0-9a-f-]{36})$/i);
  if (session) return showSession(main, session[1]);
  if (hash === "#/account" && !me()) return showAccount(main);
  if (hash === "#/admin" && me()?.is_admin) return showAdmin(main);
  return showList(main);
}

function showNav() {
  const account = me();
  const out = h("button", { type: "button", class: "quiet", click: signOut }, "Sign out");
  const guest = hasToken() ? h("span", { class: "who" }, "Signing in …") : h("a", { href: "#/account" }, "Sign in");
  document.getElementById("nav").replaceChildren(h("a", { href: "#/" }, "Sessions"),
    account?.is_admin ? h("a", { href: "#/admin" }, "Admin") : "",
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
