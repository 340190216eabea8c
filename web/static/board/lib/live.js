// Live updates of a session's board: by WebSocket, or by polling while it is unavailable.

import { get, markReachable } from "./api.js";

const POLL_MS = 1000;
const FIRST_RETRY_MS = 1000;
const MAX_RETRY_MS = 30_000;
const PING_MS = 10_000;
const UNKNOWN_SESSION = 4404;

/**
 * Watch a session. Calls `on.board(board)` for each board, `on.results(results)` once they are
 * final, and `on.state("live" | "polling" | "offline")`. Returns a function that stops it.
 */
export function watch(sessionId, on) {
  const watcher = new Watcher(sessionId, on);
  watcher.connect();
  watcher.poll();
  return () => watcher.stop();
}

class Watcher {
  constructor(sessionId, on) {
    Object.assign(this, { sessionId, on, stopped: false, isOpen: false, isPolling: false, retryMs: FIRST_RETRY_MS });
  }

  connect() {
    if (this.stopped) return;
    const scheme = location.protocol === "https:" ? "wss" : "ws";
    this.socket = new WebSocket(`${scheme}://${location.host}/ws/${this.sessionId}`);
    this.socket.onmessage = (event) => this.receive(event.data);
    this.socket.onclose = (event) => this.handleClose(event.code);
  }

  receive(text) {
    this.receivedAt = Date.now();
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
    this.pinger = setInterval(() => this.ping(), PING_MS);
    markReachable();
    this.on.state("live");
  }

  ping() {
    if (Date.now() - this.receivedAt > 2.5 * PING_MS) this.socket.close();
    else if (this.socket.readyState === WebSocket.OPEN) this.socket.send("ping");
  }

  handleClose(code) {
    clearInterval(this.pinger);
    if (this.stopped) return;
    const wasOpen = this.isOpen;
    this.isOpen = false;
    if (wasOpen) this.poll();
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
    try {
      const board = await get(`/api/leaderboard/${this.sessionId}`);
      if (this.stopped || this.isOpen) return true;
      this.on.state("polling");
      this.showBoard(board);
      if (!board.provisional && !this.stopped) this.finish(await get(`/api/results/${this.sessionId}`));
    } catch (error) {
      if (this.stopped || error.status === 404) return false;
      if (this.isOpen) markReachable(); // a late failure: the socket works
      else this.on.state("offline");
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
    clearInterval(this.pinger);
    this.socket?.close();
  }
}
