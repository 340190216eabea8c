// Live updates of a session's board: by WebSocket, or by polling while it is unavailable.

import { call, get, markReachable } from "./api.js";

const POLL_MS = 1000;
const POLL_TIMEOUT_MS = 4000;
const FIRST_RETRY_MS = 1000;
const MAX_RETRY_MS = 30_000;
const CHECK_MS = 250;
// A link that is silent for `quietMs` is asked for a sign of life, and lost without one in `answerMs`.
const PATIENCE = { quietMs: 2000, answerMs: 2000 };
const LITTLE_PATIENCE = { quietMs: 400, answerMs: 900 };
const UNKNOWN_SESSION = 4404;

/**
 * Watch a session. Calls `on.board(board)` for each board, `on.results(results)` once they are
 * final, and `on.state("live" | "polling" | "offline")`; after "offline" a new board always
 * comes with the next state. `on.isUrgent()`: whether a second matters. Returns a function that stops it.
 */
export function watch(sessionId, on) {
  const watcher = new Watcher(sessionId, on);
  watcher.start();
  return () => watcher.stop();
}

class Watcher {
  constructor(sessionId, on) {
    Object.assign(this, { sessionId, on, stopped: false, isOpen: false, isPolling: false, retryMs: FIRST_RETRY_MS });
    this.lose = this.lose.bind(this);
    this.comeBack = this.comeBack.bind(this);
  }

  start() {
    addEventListener("offline", this.lose);
    addEventListener("online", this.comeBack);
    this.checker = setInterval(() => this.check(), CHECK_MS);
    this.checkedAt = performance.now();
    this.connect();
    this.poll();
  }

  connect() {
    if (this.stopped) return;
    const scheme = location.protocol === "https:" ? "wss" : "ws";
    const socket = new WebSocket(`${scheme}://${location.host}/ws/${this.sessionId}`);
    socket.onmessage = (event) => socket === this.socket && this.receive(event.data);
    socket.onclose = (event) => socket === this.socket && this.handleClose(event.code);
    this.socket = socket;
  }

  receive(text) {
    this.hear();
    if (text === "pong") return;
    const frame = JSON.parse(text);
    this.markOpen();
    if (frame.type === "session_ended") this.finish(frame.data);
    else this.showBoard(frame.data);
  }

  /** Called on each frame: a proxy may accept a WebSocket and deliver nothing. */
  markOpen() {
    if (this.isOpen) return;
    this.isOpen = true;
    this.retryMs = FIRST_RETRY_MS;
    clearTimeout(this.pollTimer);
    markReachable();
    this.on.state("live");
  }

  hear() {
    this.heardAt = performance.now();
    this.askedAt = null;
  }

  ask() {
    this.askedAt ??= performance.now();
  }

  check() {
    const at = performance.now();
    const wasAsleep = at - this.checkedAt > 4 * CHECK_MS;
    this.checkedAt = at;
    // What came meanwhile may wait behind this check.
    if (wasAsleep) return;
    const { quietMs, answerMs } = this.on.isUrgent() ? LITTLE_PATIENCE : PATIENCE;
    if (this.askedAt != null) {
      if (at - this.askedAt > answerMs) this.lose();
    } else if (this.isOpen && at - this.heardAt > quietMs) {
      this.ask();
      this.socket.send("ping");
    }
  }

  /** Nothing says that the link works. A socket that fell silent is given up: closing it may take minutes. */
  lose() {
    this.askedAt = null;
    this.on.state("offline");
    if (!this.isOpen) return;
    this.abandonSocket();
    this.handleClose();
  }

  comeBack() {
    if (this.isOpen) return;
    clearTimeout(this.retryTimer);
    this.retryMs = FIRST_RETRY_MS;
    this.abandonSocket();
    this.connect();
  }

  abandonSocket() {
    const { socket } = this;
    this.socket = null;
    // The browser complains of one that is closed before it is open.
    if (socket?.readyState === WebSocket.CONNECTING) socket.onopen = () => socket.close();
    else socket?.close();
  }

  handleClose(code) {
    if (this.stopped) return;
    const wasOpen = this.isOpen;
    this.isOpen = false;
    if (wasOpen) {
      this.askedAt = null;
      this.poll();
    }
    if (code === UNKNOWN_SESSION) return;
    this.retryTimer = setTimeout(() => this.connect(), this.retryMs * (0.5 + Math.random()));
    this.retryMs = Math.min(this.retryMs * 2, MAX_RETRY_MS);
  }

  /** Poll until the socket delivers. A poll that is still running when the socket is lost continues. */
  async poll() {
    if (this.isPolling) return;
    this.isPolling = true;
    const isKnown = await this.pollOnce();
    this.isPolling = false;
    if (isKnown && !this.stopped && !this.isOpen) this.pollTimer = setTimeout(() => this.poll(), POLL_MS);
  }

  /** Fetch the board once; whether the session exists. */
  async pollOnce() {
    this.ask();
    try {
      const board = await call("GET", `/api/leaderboard/${this.sessionId}`, undefined, { timeoutMs: POLL_TIMEOUT_MS });
      if (this.stopped || this.isOpen) return true;
      this.hear();
      this.on.state("polling");
      this.showBoard(board);
      if (!board.provisional && !this.stopped) this.finish(await get(`/api/results/${this.sessionId}`));
    } catch (error) {
      if (error.status === 404) this.hear();
      if (this.stopped || error.status === 404) return false;
      if (this.isOpen) markReachable(); // a late failure: the socket works
      else this.lose();
    }
    return true;
  }

  /** A cancelled session has no results: its board is the last one. */
  showBoard(board) {
    this.on.board(board);
    if (board.status === "cancelled") this.stop();
  }

  finish(results) {
    if (this.stopped) return;
    this.stop();
    this.on.results(results);
  }

  stop() {
    this.stopped = true;
    clearTimeout(this.pollTimer);
    clearTimeout(this.retryTimer);
    clearInterval(this.checker);
    removeEventListener("offline", this.lose);
    removeEventListener("online", this.comeBack);
    this.abandonSocket();
  }
}
