// A session's board as it changes: by WebSocket, and by polling while none can be had.

import { get, reached } from "./api.js";

const POLL_MS = 1000;
const FIRST_RETRY_MS = 1000;
const LONGEST_RETRY_MS = 30_000;
const PING_MS = 10_000;
const UNKNOWN_SESSION = 4404;

/**
 * Watch a session. `on.board(board)` for each board, `on.results(results)` once when they
 * are final, `on.state("live" | "polling" | "offline")`. Returns a function that stops it.
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
    this.socket.onclose = (event) => this.lose(event.code);
  }

  receive(text) {
    this.heardAt = Date.now();
    if (text === "pong") return;
    const frame = JSON.parse(text);
    this.opened();
    if (frame.type === "session_ended") this.finish(frame.data);
    else this.on.board(frame.data);
  }

  /** A socket counts once it has spoken: a proxy may accept one and swallow everything. */
  opened() {
    if (this.isOpen) return;
    this.isOpen = true;
    this.retryMs = FIRST_RETRY_MS;
    clearTimeout(this.pollTimer);
    this.pinger = setInterval(() => this.ping(), PING_MS);
    reached();
    this.on.state("live");
  }

  ping() {
    if (Date.now() - this.heardAt > 2.5 * PING_MS) this.socket.close();
    else if (this.socket.readyState === WebSocket.OPEN) this.socket.send("ping");
  }

  lose(code) {
    clearInterval(this.pinger);
    if (this.stopped) return;
    const wasOpen = this.isOpen;
    this.isOpen = false;
    if (wasOpen) this.poll();
    if (code === UNKNOWN_SESSION) return;
    this.retryTimer = setTimeout(() => this.connect(), this.retryMs * (0.5 + Math.random()));
    this.retryMs = Math.min(this.retryMs * 2, LONGEST_RETRY_MS);
  }

  /** Poll until the socket speaks. A poll still on its way when the socket is lost goes on by itself. */
  async poll() {
    if (this.isPolling) return;
    this.isPolling = true;
    const isKnown = await this.look();
    this.isPolling = false;
    if (isKnown && !this.stopped && !this.isOpen) this.pollTimer = setTimeout(() => this.poll(), POLL_MS);
  }

  /** Ask for the board once; whether there is such a session. */
  async look() {
    try {
      const board = await get(`/api/leaderboard/${this.sessionId}`);
      if (this.stopped || this.isOpen) return true;
      this.on.state("polling");
      this.on.board(board);
      if (!board.provisional) this.finish(await get(`/api/results/${this.sessionId}`));
    } catch (error) {
      if (this.stopped || error.status === 404) return false;
      if (this.isOpen) reached(); // a late failure; the socket knows better
      else this.on.state("offline");
    }
    return true;
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
