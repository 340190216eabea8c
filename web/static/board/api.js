// The token lives in sessionStorage: it survives a reload, ends with the tab, is not
// sent by the browser on its own (no CSRF), and is never part of an address.

import { notice } from "./dom.js";

const TOKEN = "flashbid.token";
const TIMEOUT_MS = 10_000;
// What says that the token itself is of no use; a wrong password is refused with 401, too.
const TOKEN_IS_BAD = new Set(["token_invalid", "token_expired", "token_revoked"]);
const WILL_ASK_AGAIN = "The server cannot be reached. Trying again by itself.";
const MAY_HAVE_ARRIVED = "No answer came: this may or may not have arrived. Please send it again. The same bid again is never counted twice.";
let offsetMs = null;
let isExact = false;
let account = null;

/** Milliseconds since 1970 by the server's clock, as well as it is known. */
export const now = () => Date.now() + (offsetMs ?? 0);

/** Take the server's time over; a board's is exact, a Date header's is whole seconds. */
export function observe(serverTime, exact = true) {
  if (!serverTime || (isExact && !exact)) return;
  offsetMs = Date.parse(serverTime) + (exact ? 0 : 500) - Date.now();
  isExact = exact;
}

export class Problem extends Error {
  constructor(status, code, detail) {
    super(detail);
    this.status = status;
    this.code = code;
  }
}

export async function call(method, path, body) {
  const token = sessionStorage.getItem(TOKEN);
  const headers = { Accept: "application/json" };
  if (token) headers.Authorization = `Bearer ${token}`;
  if (body) headers["Content-Type"] = "application/json";
  const [response, answer] = await send(path, { method, headers, body: body && JSON.stringify(body) });
  observe(response.headers.get("Date"), false);
  if (response.ok) return answer;
  if (TOKEN_IS_BAD.has(answer.code) && token === sessionStorage.getItem(TOKEN)) forget();
  throw new Problem(response.status, answer.code, sentence(answer));
}

export const get = (path) => call("GET", path);

/** The server has spoken, here or by WebSocket: whatever said that it cannot be reached is over. */
export const reached = () => notice("");

/** The response and its document. Whoever reads asks again; nobody but the member repeats an action. */
async function send(path, options) {
  try {
    const response = await fetch(path, { ...options, signal: AbortSignal.timeout(TIMEOUT_MS) });
    const answer = await documentOf(response);
    reached();
    return [response, answer];
  } catch {
    const isRead = options.method === "GET";
    if (isRead) notice(WILL_ASK_AGAIN);
    throw new Problem(0, "unreachable", isRead ? WILL_ASK_AGAIN : MAY_HAVE_ARRIVED);
  }
}

/** A success that was cut on its way is no answer; a failure is one by its status alone. */
async function documentOf(response) {
  if (response.status === 204) return null;
  return response.ok ? response.json() : response.json().catch(() => ({}));
}

function sentence(problem) {
  const fields = Object.entries(problem.errors ?? {}).map(([name, said]) => `${name}: ${[said].flat().join(" ")}`);
  return [problem.detail ?? "The request failed. Please try again.", ...fields].join(" ");
}

export const me = () => account;

/** Whether a token is kept, though its member may not be known yet. */
export const hasToken = () => Boolean(sessionStorage.getItem(TOKEN));

/** Read the account behind a token kept from before a reload; whether that signed somebody in. */
export async function restore() {
  const token = sessionStorage.getItem(TOKEN);
  if (!token || account) return false;
  const found = await get("/api/auth/me");
  if (token !== sessionStorage.getItem(TOKEN)) return false;
  account = found;
  return true;
}

export async function enter(path, values) {
  account = await call("POST", path, values);
  sessionStorage.setItem(TOKEN, account.token);
  delete account.token;
}

export async function leave() {
  await call("POST", "/api/auth/logout").catch(() => null);
  forget();
}

function forget() {
  sessionStorage.removeItem(TOKEN);
  account = null;
  dispatchEvent(new Event("signed-out"));
}
