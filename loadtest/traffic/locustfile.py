"""The closed model, for Locust: members watch, wait, bid late, and raise when outbid.

    locust -f loadtest/traffic/locustfile.py --host http://127.0.0.1:8000 --tokens FILE ...

A member sends the next bid only after the response to the last one, as people do, so a slow
service reduces the load. loadtest/README.md explains the consequences.
"""

import time
from argparse import ArgumentParser, Namespace
from collections import deque
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import gevent  # type: ignore[import-untyped]
from locust import FastHttpUser, LoadTestShape, events, task
from locust.contrib.fasthttp import FastResponse
from locust.env import Environment
from locust.exception import StopUser
from locust.runners import MasterRunner, WorkerRunner

from loadtest.errors import LoadTestError
from loadtest.ledger import ledger
from loadtest.ledger.ledger import Attempt, CpuShare, Ledger, Timing
from loadtest.sale import members, plan, prices
from loadtest.sale.api import Api, Unreachable
from loadtest.sale.members import MemberToken
from loadtest.sale.plan import LoadPlan, plan_from_options
from loadtest.sale.sale import SaleSession, join_sale, open_sale
from loadtest.settings import DATA_PATH
from loadtest.traffic.locust_state import SimulatedBidder, locust_state
from loadtest.traffic.sending import PATH, bid_request

JOIN = "join-sale"
MAX_TRIES = 4
RETRY_PAUSE_SECONDS = 0.3
BOARD_SHARE = 0.3
LATE_BIDDERS_SHARE = 0.3
# Locust updates the shape once a second; a step must finish before the next one.
MAX_SPAWNS_PER_SECOND = 1000
SESSION_OVER_CODES = frozenset({"session_ended", "session_inactive", "session_not_found"})


@events.init_command_line_parser.add_listener
def add_options(parser: ArgumentParser) -> None:
    """Add the options to the command line and to Locust's web UI."""
    plan.add_options(parser)
    # Locust's parser accepts more keywords than argparse's.
    group: Any = parser
    group.add_argument(
        "--tokens",
        default=str(members.TOKENS_PATH),
        metavar="FILE",
        help="token file written by seed-members (%(default)s)",
    )
    group.add_argument(
        "--session", default="", metavar="ID", help="bid in this session instead of creating one"
    )
    group.add_argument(
        "--ledger",
        default=str(DATA_PATH / "reports"),
        metavar="FOLDER",
        help="folder of the processes' ledgers (%(default)s)",
    )
    for name in ("token", "name", "password"):
        group.add_argument(
            f"--admin-{name}",
            env_var=f"FLASHBID_ADMIN_{name.upper()}",
            default="",
            # The web UI would show the value to everybody who opens it.
            include_in_web_ui=False,
            help=f"an admin's {name}",
        )


@events.init.add_listener
def listen_to_master(environment: Environment, **_: Any) -> None:
    if isinstance(environment.runner, WorkerRunner):
        environment.runner.register_message(JOIN, _join_as_worker)


@events.test_start.add_listener
def begin(environment: Environment, **_: Any) -> None:
    """Open the sale and distribute the members over the processes."""
    if isinstance(environment.runner, WorkerRunner):
        return
    try:
        _begin(environment)
    except (LoadTestError, Unreachable) as error:
        print(f"loadtest: {error}", flush=True)
        environment.process_exit_code = 1
        gevent.spawn(environment.runner.quit)  # type: ignore[union-attr]


def _begin(environment: Environment) -> None:
    options = _options(environment)
    load_plan = plan_from_options(options)
    host = environment.host or ""
    all_members = members.read_tokens(Path(options.tokens), load_plan.members)
    members.check_tokens(host, all_members)
    session_id = options.session or _create_session(host, options, load_plan)
    runner = environment.runner
    if isinstance(runner, MasterRunner):
        _prepare(host, load_plan, session_id, [], None)
        workers = list(runner.clients)
        for index, worker in enumerate(workers):
            share = [(m.user_id, m.token) for m in all_members[index :: len(workers)]]
            message = {"session_id": session_id, "members": share, "host": host}
            runner.send_message(JOIN, message | {"plan": load_plan.options()}, worker)
    else:
        _prepare(host, load_plan, session_id, all_members, Path(options.ledger))
    print(f"loadtest: session {session_id}, ledger in {options.ledger}", flush=True)


def _create_session(host: str, options: Namespace, load_plan: LoadPlan) -> str:
    token = members.admin_token(
        host, options.admin_token, options.admin_name, options.admin_password
    )
    return open_sale(Api(host, token), load_plan).session_id


def _join_as_worker(environment: Environment, msg: Any, **_: Any) -> None:
    parser = ArgumentParser()
    plan.add_options(parser)
    message = msg.data
    _prepare(
        message["host"],
        plan_from_options(parser.parse_args(message["plan"])),
        message["session_id"],
        [MemberToken(*member) for member in message["members"]],
        Path(_options(environment).ledger),
    )


def _prepare(
    host: str, load_plan: LoadPlan, session_id: str, share: list[MemberToken], folder: Path | None
) -> None:
    locust_state.plan = load_plan
    locust_state.sale = join_sale(Api(host), session_id)
    locust_state.free = deque(
        SimulatedBidder(member, load_plan, locust_state.sale) for member in share
    )
    locust_state.threshold = None
    if locust_state.ledger:
        locust_state.ledger.close()
    locust_state.ledger = None
    if folder:
        path = ledger.ledger_path(folder, session_id)
        locust_state.ledger = Ledger(
            path, mode="closed", session_id=session_id, plan=load_plan.options()
        )
    Member.network_timeout = Member.connection_timeout = load_plan.timeout
    gevent.spawn(_sample, locust_state.sale)


def _sample(sale: SaleSession) -> None:
    """Sample members, pending requests and CPU use once a second."""
    busy = CpuShare()
    while locust_state.sale is sale and locust_state.ledger:
        locust_state.ledger.sample(
            at=time.time(), members=Member.present, in_flight=Member.waiting, cpu=busy.share()
        )
        gevent.sleep(1)


@events.test_stop.add_listener
def end(**_: Any) -> None:
    if locust_state.ledger and locust_state.sale:
        print(
            f"loadtest: verify with: python -m loadtest verify {locust_state.ledger.path.parent} "
            f"--session {locust_state.sale.session_id}",
            flush=True,
        )
    locust_state.sale = None


def _options(environment: Environment) -> Namespace:
    options: Namespace | None = environment.parsed_options
    assert options is not None  # noqa: S101 - Locust's command line always has them
    return options


class FlashSale(LoadTestShape):
    """Members follow the traffic curve, with spikes at the opening and the deadline."""

    def tick(self) -> tuple[int, float] | None:
        if locust_state.sale is None or locust_state.plan is None:
            # The first tick starts the test and the sale, however long that takes.
            return 1, 1.0
        level = locust_state.plan.curve.level(locust_state.sale.elapsed)
        if level == 0.0:
            return None
        wanted = max(1, round(level * locust_state.plan.members))
        return wanted, float(min(MAX_SPAWNS_PER_SECOND, max(1, locust_state.plan.members)))


class Member(FastHttpUser):
    """A Locust user that acts for one member at a time."""

    present = 0
    waiting = 0

    def wait_time(self) -> float:
        """Seconds between bids, around the plan's pace."""
        return self.bidder.random.uniform(0.5, 1.5) * self.plan.pace_seconds

    def on_start(self) -> None:
        if locust_state.sale is None or locust_state.plan is None or not locust_state.free:
            raise StopUser
        self.sale, self.plan = locust_state.sale, locust_state.plan
        self.bidder = locust_state.free.popleft()
        Member.present += 1
        self.bids_from = self._first_bid_at()

    def on_stop(self) -> None:
        if hasattr(self, "bidder"):
            Member.present -= 1
            locust_state.free.append(self.bidder)

    def _first_bid_at(self) -> float:
        """When this member starts to bid; some start only near the end."""
        random, curve = self.bidder.random, self.plan.curve
        if self.sale.elapsed >= 0 and random.random() < LATE_BIDDERS_SHARE:
            return curve.duration_seconds - random.expovariate(2 / curve.closing_seconds)
        return 0.0

    @task
    def participate(self) -> None:
        """Wait for the first bid's time, sometimes look at the board, then bid or raise."""
        if self.sale.elapsed < 0:
            self._watch()
            gevent.sleep(max(0.0, -self.sale.elapsed))
        remaining = self.bids_from - self.sale.elapsed
        if remaining > 0:
            self._watch()
            gevent.sleep(min(remaining, self.plan.pace_seconds))
            if remaining > self.plan.pace_seconds:
                return
        if locust_state.threshold is None or self.bidder.random.random() < BOARD_SHARE:
            self._watch()
        price = self._next_price()
        if price is not None:
            self._bid(price)

    def _watch(self) -> None:
        path = f"/api/leaderboard/{self.sale.session_id}?page_size=10"
        with self.client.get(path, name="watch the board", catch_response=True) as answer:
            if answer.status_code == 200:
                board = answer.json()
                locust_state.threshold = board["threshold_score"]
            elif answer.status_code:
                answer.failure(f"HTTP {answer.status_code}")

    def _next_price(self) -> Decimal | None:
        """The next price; None while the bid wins, or if winning exceeds the limit."""
        bidder, terms = self.bidder, self.sale.terms
        if locust_state.threshold is None:
            return prices.first(bidder.random, terms.upset_price)
        if bidder.score >= locust_state.threshold:
            return None
        needed = terms.price_for(locust_state.threshold, self.sale.elapsed, bidder.weight)
        return prices.higher(
            bidder.random,
            needed=max(needed, terms.upset_price),
            standing=bidder.standing,
            limit=bidder.limit,
        )

    def _bid(self, price: Decimal) -> None:
        """Send the bid until it is answered. Retries are safe: the service replays the bid."""
        for _ in range(MAX_TRIES):
            attempt = self._send(price)
            if not attempt.may_be_stored or attempt.is_confirmed:
                break
            gevent.sleep(RETRY_PAUSE_SECONDS)
        if attempt.is_confirmed:
            self.bidder.keep(price, attempt)
        elif attempt.kind in SESSION_OVER_CODES:
            # Nothing more to do; the shape stops all users soon.
            gevent.sleep(1)

    def _send(self, price: Decimal) -> Attempt:
        body, headers = bid_request(
            self.sale.session_id, self.bidder.member, price, only_if_better=True
        )
        sent_at, began = time.time(), time.perf_counter()
        Member.waiting += 1
        # Kept for whatever interrupts the member: the end of the test, or Ctrl-C.
        attempt: Attempt | None = None
        try:
            with self.client.post(
                PATH, data=body, headers=headers, name="bid", catch_response=True
            ) as answer:
                attempt = self._attempt(price, _timing(sent_at, began), answer)
                if attempt.is_error:
                    answer.failure(attempt.kind)
                else:
                    answer.success()
        finally:
            Member.waiting -= 1
            if attempt is None:
                attempt = self._abandoned(price, _timing(sent_at, began))
            self._keep(attempt)
        return attempt

    def _abandoned(self, price: Decimal, timing: Timing) -> Attempt:
        return ledger.unanswered(self.bidder.member.user_id, price, timing, ledger.ABANDONED)

    def _attempt(self, price: Decimal, timing: Timing, answer: FastResponse) -> Attempt:
        if answer.status_code:
            return ledger.answered(
                self.bidder.member.user_id, price, timing, answer.status_code, answer.content
            )
        # The client wraps the original error.
        error = getattr(answer, "error", None)
        kind = ledger.failure(getattr(error, "original", error))
        return ledger.unanswered(self.bidder.member.user_id, price, timing, kind)

    @staticmethod
    def _keep(attempt: Attempt) -> None:
        if locust_state.ledger:
            locust_state.ledger.attempt(replace(attempt, only_if_better=True))


def _timing(sent_at: float, began: float) -> Timing:
    return Timing(sent_at, sent_at, sent_at + time.perf_counter() - began)


__all__ = ["FlashSale", "Member"]
