import { showAccount } from "./account.js";
import { showAdmin } from "./admin.js";
import { call, get, hasToken, leave, me, restore } from "./api.js";
import { h } from "./dom.js";
import { showList } from "./list.js";
import { showSession } from "./session.js";

const main = document.getElementById("main");
const RETRY_MS = 2000;
let stop = () => {};
let turn = 0;
let newsTurn = 0;

/** Show what the address names; an address that changes meanwhile wins. */
async function route() {
  const own = ++turn;
  stop();
  stop = () => {};
  showNav();
  showNews();
  try {
    const stopNew = await show(location.hash);
    if (own === turn) stop = stopNew;
    else stopNew();
  } catch (error) {
    if (own !== turn) return;
    main.replaceChildren(h("h1", {}, "Not shown"), h("p", {}, error.message));
    if (error.status === 0 || error.status >= 500) setTimeout(() => own === turn && route(), RETRY_MS);
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
  const out = h("button", { type: "button", class: "quiet", click: leave }, "Sign out");
  const guest = hasToken() ? h("span", { class: "who" }, "Signing in …") : h("a", { href: "#/account" }, "Sign in");
  document.getElementById("nav").replaceChildren(h("a", { href: "#/" }, "Sessions"),
    account?.is_admin ? h("a", { href: "#/admin" }, "Admin") : "",
    ...(account ? [h("span", { class: "who" }, account.username), out] : [guest]));
}

/** Unread news of closed sessions; a server without them stays silent. Of two looks the later counts. */
async function showNews() {
  const own = ++newsTurn;
  const found = me() ? await get("/api/notifications?unread=true").catch(() => []) : [];
  if (own !== newsTurn) return;
  const news = document.getElementById("news");
  news.replaceChildren(...found.map(newsItem));
  news.hidden = !found.length;
}

/** One outcome; whoever opens it has read it. */
function newsItem({ notification_id: id, session_id: session, message }) {
  const read = () => call("PUT", `/api/notifications/${id}/read`).then(showNews, () => null);
  return h("li", {}, h("a", { href: `#/session/${session}`, click: read }, message));
}

/** Sign in by the kept token, however often it takes; a bad one is forgotten. */
async function recognise() {
  try {
    if (await restore()) dispatchEvent(new Event("signed-in"));
  } catch {
    setTimeout(recognise, RETRY_MS);
  }
}

document.getElementById("skip").addEventListener("click", (event) => {
  event.preventDefault();
  main.focus();
});
addEventListener("hashchange", route);
addEventListener("signed-out", route);
addEventListener("signed-in", () => (location.hash === "#/account" ? (location.hash = "#/") : route()));
await recognise();
if (!me()) route();
