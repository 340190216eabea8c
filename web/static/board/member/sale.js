import { BID_PATH, call, get, me, now, syncClock } from "../lib/api.js";
import { announce } from "../lib/announce.js";
import { place, price } from "../lib/format.js";
import { watch } from "../lib/live.js";
import { board as texts } from "../lib/messages.js";
import { addPoint } from "../lib/plot.js";
import { throttle } from "../lib/throttle.js";
import { isInLastSeconds } from "../lib/timer.js";

const OWN_PLACE_MS = 1000;
const RELOAD_SPREAD_MS = 1000;
const LAST_MINUTE_MS = 60_000;
// With seconds left, a member rather taps again than waits.
const BID_TIMEOUT_MS = 4000;
const RATE_LIMITED = 429;

/**
 * One session as its page knows it, kept up to date. Calls `changed()` after each change.
 *
 * `own`: the member's {rank, price, score, is_winner}, or null. `isSure`: whether `own` was
 * confirmed after the link was last lost. `unconfirmed`: the price of a bid without an answer.
 * `problem`: why the last one was not placed. `meant`: an unusual price that the member has confirmed.
 */
export class Sale {
  constructor(session, changed) {
    Object.assign(this, { session, changed, board: null, results: null, own: null, link: "connecting", unconfirmed: null, problem: "", isSending: false, meant: null });
    this.points = [];
    this.weight = me()?.weight;
    this.hasBid = this.isListed = this.stopped = false;
    this.isSure = true;
    this.answers = this.losses = 0;
    this.requestOwnPlace = throttle(OWN_PLACE_MS, () => this.fetchOwnPlace());
  }

  /** Returns a function that stops the updates. */
  start() {
    const timer = setInterval(() => this.everySecond(), 1000);
    if (me()) this.fetchOwnBid();
    const stop = watch(this.session.session_id, {
      board: (board) => this.showBoard(board),
      results: (results) => this.showResults(results),
      state: (link) => this.setLink(link),
      isUrgent: () => this.isOpen && Date.parse(this.session.end_time) - now() < LAST_MINUTE_MS,
    });
    return () => {
      this.stopped = true;
      clearInterval(timer);
      stop();
    };
  }

  get isOpen() {
    return this.session.status === "active" && Date.parse(this.session.end_time) > now();
  }

  get isOver() {
    return ["ended", "cancelled"].includes(this.session.status);
  }

  /** Seconds since the session's start. */
  get responseTime() {
    return Math.max(0, (now() - Date.parse(this.session.start_time)) / 1000);
  }

  /** The member's place in words. */
  get standing() {
    if (!this.own) return "";
    const [rank, paid] = [place(this.own.rank), price(this.own.price)];
    if (!this.isSure) return texts.lastKnown(rank, paid);
    return (this.session.status === "ended" ? texts.finished : texts.standing)(rank, paid, this.own.is_winner);
  }

  setLink(link) {
    if (link === this.link) return;
    this.link = link;
    if (link === "offline") {
      this.isSure = false;
      this.losses += 1;
      announce(texts.links.offline);
    }
    this.changed();
  }

  showBoard(board) {
    syncClock(board.server_time);
    this.board = board;
    if (board.status === "active" && this.session.status !== "active") this.reloadStartSoon();
    if (board.status === "cancelled" && this.session.status !== "cancelled") announce(texts.announcements.cancelled);
    // A new object: the countdown depends on it.
    this.session = { ...this.session, status: board.status, end_time: board.end_time };
    addPoint(this.points, now(), board.threshold_score);
    this.updateOwn(board);
    this.changed();
  }

  showResults(results) {
    this.results = results;
    this.session = { ...this.session, status: "ended" };
    if (this.hasBid || this.unconfirmed != null) this.requestOwnPlace();
    announce(`${texts.announcements.ended} ${this.standing}`);
    this.changed();
  }

  everySecond() {
    const isLast = isInLastSeconds({ status: this.session.status, end: Date.parse(this.session.end_time) });
    if (isLast && !this.wasLast) announce(texts.announcements.lastSeconds);
    this.wasLast = isLast;
    if (!this.isOver) this.changed();
  }

  /** At a random moment: all pages see the session open at the same time. */
  reloadStartSoon() {
    setTimeout(() => this.stopped || this.reloadStart(), Math.random() * RELOAD_SPREAD_MS);
  }

  /** Boards lack the terms, of which the start changes when a session is opened early. */
  async reloadStart() {
    const session = await get(`/api/sessions/${this.session.session_id}`).catch(() => null);
    if (!session || Date.parse(session.start_time) > now()) return this.reloadStartSoon();
    const { status, end_time } = this.session;
    this.session = { ...session, status, end_time };
    this.changed();
  }

  /** The member's latest bid here: whether there is one, and the weight that it fixed. */
  async fetchOwnBid() {
    const bids = await get(`/api/bids/me?session_id=${this.session.session_id}&page_size=1`).catch(() => null);
    if (this.stopped) return;
    if (!bids) setTimeout(() => this.stopped || this.fetchOwnBid(), OWN_PLACE_MS);
    else if (bids.length) [this.hasBid, this.weight] = [true, bids[0].user_weight];
    if (this.board) this.updateOwn(this.board);
    this.changed();
  }

  /** The member's place from the board, or from the server if the board does not list it. */
  updateOwn(board) {
    const entry = me() && board.leaderboard.find(({ user_id: id }) => id === me().user_id);
    this.isListed = Boolean(entry);
    if (entry) this.setOwn(entry);
    else if (this.hasBid && board.status !== "cancelled") this.requestOwnPlace();
  }

  /** Fetch the member's place. The response is ignored if a bid, a board or a lost link is newer. */
  async fetchOwnPlace() {
    const before = [this.answers, this.losses].join();
    const own = await get(`/api/leaderboard/${this.session.session_id}/me`).catch(() => null);
    if (this.stopped) return;
    if (before !== [this.answers, this.losses].join()) this.requestOwnPlace();
    else if (own && (!this.isListed || this.results)) this.setOwn(own);
  }

  setOwn(own) {
    const before = this.standing;
    Object.assign(this, { own, hasBid: true, isSure: this.link !== "offline" });
    if (own.price === this.unconfirmed) Object.assign(this, { unconfirmed: null, problem: "" });
    if (this.standing !== before) announce(this.standing);
    this.changed();
  }

  /** Place a bid; `anyway`: even if it scores less than the standing one. Fails with a Problem. */
  async bid(amount, anyway = false) {
    const request = { session_id: this.session.session_id, price: amount, only_if_better: !anyway };
    try {
      const placed = await call("POST", BID_PATH, request, { timeoutMs: BID_TIMEOUT_MS });
      this.answers += 1;
      Object.assign(this, { unconfirmed: null, weight: placed.user_weight });
      this.setOwn({ ...placed, is_winner: placed.is_winning });
    } catch (problem) {
      if (isUncertain(problem)) this.unconfirmed = amount;
      else if (problem.status < 500 && problem.status !== RATE_LIMITED) this.unconfirmed = null;
      throw problem;
    }
  }
}

/** Whether the bid may have been placed: no answer, or one of a proxy that had none. */
function isUncertain({ status, code }) {
  return status === 0 || code === "outcome_unknown" || (status >= 500 && !code);
}
