// The token lives in sessionStorage: it survives a reload, ends with the tab, is not
// sent by the browser on its own (no CSRF), and is never part of an address.

import { notice } from "./dom.js";

const TOKEN = "flashbid.token";
const TIMEOUT_MS = 10_000;
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
  const response = await send(path, { method, headers, body: body && JSON.stringify(body) });
  observe(response.headers.get("Date"), false);
  const answer = response.status === 204 ? null : await response.json().catch(() => ({}));
  if (response.ok) return answer;
  if (response.status === 401 && token) forget();
  throw new Problem(response.status, answer.code, sentence(answer));
}

export const get = (path) => call("GET", path);

/** The server has spoken, here or by WebSocket: whatever said that it cannot be reached is over. */
export const reached = () => notice("");

async function send(path, options) {
  try {
    const response = await fetch(path, { ...options, signal: AbortSignal.timeout(TIMEOUT_MS) });
    reached();
    return response;
  } catch {
    const text = "The server cannot be reached. Trying again by itself.";
    notice(text);
    throw new Problem(0, "unreachable", text);
  }
}

function sentence(problem) {
  const fields = Object.entries(problem.errors ?? {}).map(([name, said]) => `${name}: ${[said].flat().join(" ")}`);
  return [problem.detail ?? "The request failed. Please try again.", ...fields].join(" ");
}

export const me = () => account;

/** Read the account behind a token kept from before a reload. */
export async function restore() {
  if (sessionStorage.getItem(TOKEN)) account = await get("/api/auth/me");
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
