// The token is in localStorage: all tabs sign in and out together. It is never sent automatically
// (no CSRF), and is never part of a URL. docs/explanation/security.md says what that costs.

import { showNotice } from "./announce.js";
import { common } from "./messages.js";

const TOKEN = "flashbid.token";
export const BID_PATH = "/api/bid";
const OWN_ACCOUNT = "/api/auth/me";
const TIMEOUT_MS = 10_000;
const FILE_TIMEOUT_MS = 600_000;
// Codes that mean the token is unusable; a wrong password is a 401, too.
const INVALID_TOKEN_CODES = new Set(["token_invalid", "token_expired", "token_revoked"]);
const UNREACHABLE = common.unreachable;
const BID_UNCONFIRMED = common.unconfirmedBid;
const ACTION_UNCONFIRMED = common.unconfirmedAction;
let offsetMs = null;
let isExact = false;
let account = null;

/** Milliseconds since 1970, by the best estimate of the server's clock. */
export const now = () => Date.now() + (offsetMs ?? 0);

/** Adopt the server's time. A board's is exact, a Date header's is in whole seconds. */
export function syncClock(serverTime, exact = true) {
  if (!serverTime || (isExact && !exact)) return;
  offsetMs = Date.parse(serverTime) + (exact ? 0 : 500) - Date.now();
  isExact = exact;
}

export class Problem extends Error {
  constructor(status, code, detail, data = {}) {
    super(detail);
    this.status = status;
    this.code = code;
    this.data = data;
  }
}

/** The response's document. `options`: see `exchange`. */
export const call = async (...request) => (await exchange(...request))[1];

export const get = (path) => call("GET", path);

/** A page of a list: its `items`, how many there are in `total`, and on how many `pages`. */
export async function getPage(path, page, size = 50) {
  const [response, items] = await exchange("GET", `${path}${path.includes("?") ? "&" : "?"}page=${page}&page_size=${size}`);
  const total = Number(response.headers.get("X-Total-Count"));
  return { items, total, pages: Math.ceil(total / size) };
}

/** A file as a blob: a link cannot send the token. */
export const getFile = (path) => call("GET", path, null, { read: (response) => response.blob(), timeoutMs: FILE_TIMEOUT_MS });

/**
 * The response and what `read` makes of it. `extra`: more headers. Fails with a Problem, also when
 * no response comes within `timeoutMs`.
 */
async function exchange(method, path, body, { extra, read, timeoutMs = TIMEOUT_MS } = {}) {
  const token = localStorage.getItem(TOKEN);
  const headers = { Accept: read ? "*/*" : "application/json", ...extra };
  if (token) headers.Authorization = `Bearer ${token}`;
  if (body) headers["Content-Type"] = "application/json";
  const [response, data] = await send(path, { method, headers, body: body && JSON.stringify(body) }, read, timeoutMs);
  syncClock(response.headers.get("Date"), false);
  if (response.ok) return [response, data];
  if (INVALID_TOKEN_CODES.has(data.code) && token === localStorage.getItem(TOKEN)) clearLogin();
  throw new Problem(response.status, data.code, messageOf(data), data);
}

/** Hide the notice after any response or WebSocket message. */
export const markReachable = () => showNotice("");

/** The response and its content. Reads are retried by the caller, actions only by the member. */
async function send(path, options, read, timeoutMs) {
  try {
    const response = await fetch(path, { ...options, signal: AbortSignal.timeout(timeoutMs) });
    const data = await documentOf(response, read);
    markReachable();
    return [response, data];
  } catch {
    const isRead = options.method === "GET";
    if (isRead) showNotice(UNREACHABLE);
    const unconfirmed = path === BID_PATH ? BID_UNCONFIRMED : ACTION_UNCONFIRMED;
    throw new Problem(0, "unreachable", isRead ? UNREACHABLE : unconfirmed);
  }
}

/** A truncated success is an error; for a failure the status is enough. */
async function documentOf(response, read = () => response.json()) {
  if (response.status === 204) return null;
  return response.ok ? read(response) : response.json().catch(() => ({}));
}

/** All messages by field, or else the problem's detail. */
function messageOf(problem) {
  const messages = Object.entries(problem.errors ?? {}).map(([name, texts]) => `${name}: ${[texts].flat().join(" ")}`);
  return messages.join(" ") || problem.detail || common.failed;
}

export const me = () => account;

/** Whether a token is stored, though its account may not be loaded yet. */
export const hasToken = () => Boolean(localStorage.getItem(TOKEN));

/** Load the account of a stored token after a reload; whether that signed a member in. */
export async function restoreAccount() {
  const token = localStorage.getItem(TOKEN);
  if (!token || account) return false;
  const found = await get(OWN_ACCOUNT);
  if (token !== localStorage.getItem(TOKEN)) return false;
  account = found;
  return true;
}

export async function authenticate(path, values) {
  account = await call("POST", path, values);
  localStorage.setItem(TOKEN, account.token);
  delete account.token;
}

/** Change fields of the own account. */
export async function changeAccount(values) {
  account = await call("PATCH", OWN_ACCOUNT, values);
}

export async function signOut() {
  await call("POST", "/api/auth/logout").catch(() => null);
  clearLogin();
}

function clearLogin() {
  localStorage.removeItem(TOKEN);
  account = null;
  dispatchEvent(new Event("signed-out"));
}

/** Another tab has signed in or out. */
addEventListener("storage", ({ key }) => {
  if (key !== TOKEN && key !== null) return;
  account = null;
  dispatchEvent(new Event(hasToken() ? "token-changed" : "signed-out"));
});
