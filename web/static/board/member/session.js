import { BID_PATH, call, get, me, now, syncClock } from "../lib/api.js";
import { announce, field, form, h } from "../lib/dom.js";
import { counted, facts, place, price, score } from "../lib/format.js";
import { tick, timer } from "./list.js";
import { watch } from "../lib/live.js";
import { Plot } from "../lib/plot.js";
import { nextStep, priceToPass } from "../lib/scoring.js";
import { throttle } from "../lib/throttle.js";

const OWN_PLACE_MS = 1000;
const RELOAD_SPREAD_MS = 1000;
const STATES = { live: "Live", polling: "Updating every second", offline: "Connection lost. Reconnecting …" };
const VERBS = { activate: "Activate", deactivate: "Deactivate", close: "Close permanently" };

/** One session's board. Returns a function that stops the updates. */
export async function showSession(main, id) {
  const view = new SessionView(await get(`/api/sessions/${id}`));
  main.replaceChildren(...view.elements());
  return view.start();
}

class SessionView {
  constructor(session) {
    this.session = session;
    this.own = null;
    this.hasBid = this.isListed = this.isInLastSeconds = this.stopped = false;
    this.bidsPlaced = 0;
    this.requestOwnPlace = throttle(OWN_PLACE_MS, () => this.fetchOwnPlace());
    this.plot = new Plot();
    this.timer = timer(session);
    this.state = h("p", { class: "state", id: "state" }, "Connecting …");
    this.standing = h("p", { class: "standing", id: "standing" });
    this.step = h("p", { class: "step", id: "step" });
    this.results = h("section", { id: "results", "aria-label": "Results", hidden: true });
    this.body = h("tbody");
    this.admin = h("p", { class: "actions" });
  }

  elements() {
    const { session } = this;
    this.bidding = h("section", { class: "panel bidding", "aria-label": "Your bid" }, this.standing, this.step, this.bidForm());
    if (me()?.is_admin) this.admin.append(...Object.keys(VERBS).map((verb) => this.action(verb)));
    return [
      h("h1", {}, session.name),
      session.description ? h("p", {}, session.description) : "",
      h("div", { class: "bar" }, this.timer, this.state),
      h("p", { class: "facts" }, facts(session)),
      this.admin, this.results,
      h("div", { class: "session" }, this.bidding, this.table(), h("section", { class: "panel plotted", "aria-label": "Threshold" }, this.plot.figure)),
    ];
  }

  table() {
    const heads = ["Rank", "Member", "Price", "Score"].map((name) => h("th", { scope: "col" }, name));
    return h("table", { id: "board" }, h("caption", {}, `Leaderboard: ${winners(this.session.inventory)}`), h("thead", {}, h("tr", {}, heads)), this.body);
  }

  bidForm() {
    if (!me()) return h("p", {}, h("a", { href: "#/account" }, "Sign in to bid"));
    const input = { name: "price", type: "number", inputmode: "decimal", step: "0.01", min: this.session.upset_price, max: "9999999999.99", required: true };
    return form("Bid", [field("Your price", input)], "Place bid", (values) => this.bid(Number(values.price)));
  }

  async bid(amount) {
    const request = { session_id: this.session.session_id, price: amount, only_if_better: true };
    const placed = await call("POST", BID_PATH, request).catch((problem) => this.explain(problem, amount));
    this.hasBid = true;
    this.bidsPlaced += 1;
    this.setOwn({ rank: placed.rank, price: placed.price, is_winner: placed.is_winning });
  }

  /** Throw the problem; for a bid that would lower the member's score, with the price that would raise it. */
  explain(problem, amount) {
    if (problem.code === "score_would_drop") {
      const { score: offered, standing_score: standing } = problem.data;
      const needed = priceToPass(this.session, this.responseTime(), me().weight, standing);
      problem.message = `Not placed: ${price(amount)} would not improve your bid, because later bids score less `
        + `(${score(offered)} now, yours has ${score(standing)}).${needed == null ? "" : ` Bid ${price(needed)} or more.`}`;
    }
    throw problem;
  }

  action(verb) {
    const run = async (event) => {
      event.target.disabled = true;
      try {
        Object.assign(this.session, await call("PUT", `/api/admin/sessions/${this.session.session_id}/${verb}`));
        this.updateTimer();
      } catch (error) {
        announce(error.message);
        this.state.textContent = error.message;
      }
      event.target.disabled = false;
    };
    return h("button", { type: "button", class: "quiet", click: run }, VERBS[verb]);
  }

  start() {
    const timers = [setInterval(() => this.everySecond(), 1000), setInterval(() => tick(this.timer.parentElement), 250)];
    tick(this.timer.parentElement);
    if (me()) this.fetchOwnBid();
    const stop = watch(this.session.session_id, {
      board: (board) => this.showBoard(board),
      results: (results) => this.showResults(results),
      state: (state) => (this.state.textContent = STATES[state]),
    });
    return () => {
      this.stopped = true;
      timers.forEach(clearInterval);
      stop();
    };
  }

  async fetchOwnBid() {
    const bids = await get(`/api/bids/me?session_id=${this.session.session_id}&page_size=1`).catch(() => null);
    if (this.stopped) return;
    if (!bids) setTimeout(() => this.stopped || this.fetchOwnBid(), OWN_PLACE_MS);
    else if (bids.length) this.hasBid = true;
    if (this.board) this.updateOwn(this.board);
  }

  everySecond() {
    if (this.board) this.showStep();
    if (this.session.status !== "active") return;
    this.plot.draw();
    if (!this.isInLastSeconds && this.timer.classList.contains("last")) announce("Last seconds.");
    this.isInLastSeconds = this.timer.classList.contains("last");
  }

  updateTimer() {
    const fresh = timer(this.session);
    this.timer.replaceWith(fresh);
    this.timer = fresh;
    tick(fresh.parentElement);
  }

  showBoard(board) {
    syncClock(board.server_time);
    this.board = board;
    if (board.status === "active" && this.session.status !== "active") this.reloadStartSoon();
    if (board.status !== this.session.status || board.end_time !== this.session.end_time) {
      Object.assign(this.session, { status: board.status, end_time: board.end_time });
      this.updateTimer();
    }
    this.plot.add(now(), board.threshold_score);
    this.showRows(board.leaderboard);
    this.updateOwn(board);
    if (board.status === "cancelled") this.showCancelled();
  }

  showCancelled() {
    this.state.textContent = "Cancelled";
    this.bidding.hidden = true;
    announce("The shop has cancelled this session. Nobody wins.");
  }

  /** At a random moment: all pages see the session open at the same time. */
  reloadStartSoon() {
    setTimeout(() => this.stopped || this.reloadStart(), Math.random() * RELOAD_SPREAD_MS);
  }

  /** Boards lack the start time, which changes when a session is opened early. */
  async reloadStart() {
    const session = await get(`/api/sessions/${this.session.session_id}`).catch(() => null);
    if (!session || Date.parse(session.start_time) > now()) return this.reloadStartSoon();
    this.session.start_time = session.start_time;
    this.updateTimer();
  }

  showRows(entries) {
    const rows = entries.map((entry) => row(entry, this.session.inventory));
    if (!rows.length) rows.push(h("tr", {}, h("td", { colspan: "4" }, "No bids yet.")));
    this.body.replaceChildren(...rows);
  }

  /** The member's place from the board, or from the server if the board does not list it. */
  updateOwn(board) {
    const entry = me() && board.leaderboard.find(({ user_id: id }) => id === me().user_id);
    this.isListed = Boolean(entry);
    if (entry) {
      this.hasBid = true;
      this.setOwn(entry);
    } else {
      if (this.hasBid && board.status !== "cancelled") this.requestOwnPlace();
      this.showStep();
    }
  }

  /** Fetch the member's place. The response is ignored if a bid or a board is newer. */
  async fetchOwnPlace() {
    const before = this.bidsPlaced;
    const own = await get(`/api/leaderboard/${this.session.session_id}/me`).catch(() => null);
    if (before !== this.bidsPlaced) this.requestOwnPlace();
    else if (own && !this.stopped && !this.isListed) this.setOwn(own);
  }

  setOwn(own) {
    this.own = own;
    const isOver = this.session.status === "ended";
    const text = own ? standingText(own, isOver) : "";
    this.bidding.hidden = isOver && !own;
    if (text !== this.standing.textContent) {
      this.standing.textContent = text;
      this.standing.classList.toggle("wins", Boolean(own?.is_winner));
      announce(text);
    }
    this.showStep();
  }

  /** Seconds since the session's start. */
  responseTime() {
    return Math.max(0, (now() - Date.parse(this.session.start_time)) / 1000);
  }

  showStep() {
    const { session, board, own } = this;
    const isOpen = session.status === "active" && Date.parse(session.end_time) > now();
    const step = me() && isOpen && board ? nextStep(session, board, own, this.responseTime(), me().weight) : null;
    const text = step ? stepText(step) : "";
    if (this.step.textContent !== text) this.step.textContent = text;
  }

  showResults(results) {
    Object.assign(this.session, { status: "ended" });
    this.updateTimer();
    this.state.textContent = "Final";
    this.bidding.querySelector("form")?.remove();
    this.setOwn(this.own);
    const lines = results.winners.map((winner) => h("li", { value: winner.rank }, winnerText(winner)));
    this.results.replaceChildren(h("h2", {}, "Results"),
      h("p", {}, "Final price ", h("strong", {}, price(results.final_price)), ` · ${results.total_winners} of ${counted(results.total_bidders, "bidder")} won`),
      h("ol", {}, lines));
    this.results.hidden = false;
    announce("The session has ended. The results are final.");
  }
}

function standingText({ rank, price: paid, is_winner: wins }, isOver) {
  if (isOver) return `You finished in ${place(rank)} with ${price(paid)}: you ${wins ? "won" : "did not win"}.`;
  return `You are in ${place(rank)} with ${price(paid)}: ${wins ? "winning" : "not winning"}.`;
}

function winnerText({ username, price: offered, price_to_pay: pays }) {
  return `${username} · ${price(offered)}${pays == null || pays === offered ? "" : `, pays ${price(pays)}`}`;
}

const winners = (inventory) => (inventory === 1 ? "first place wins" : `the top ${inventory} win`);

const stepText = ({ price: needed, rank }) => `Bid ${price(needed)} to reach ${place(rank)}`;

/** A row; the one of the last winning rank has a line below it. */
function row(entry, inventory) {
  const isOwn = entry.user_id === me()?.user_id;
  const classes = [isOwn && "own", entry.rank === inventory && "last-winner", entry.is_winner && "wins"].filter(Boolean);
  return h("tr", { class: classes.join(" ") || false },
    h("td", {}, String(entry.rank)),
    h("th", { scope: "row", title: entry.username }, h("span", { class: "name" }, entry.username), isOwn ? h("span", { class: "tag" }, "you") : ""),
    h("td", {}, price(entry.price)), h("td", {}, score(entry.score)));
}
