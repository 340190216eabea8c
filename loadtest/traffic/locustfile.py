"""The closed model, for Locust: members who watch, wait, bid late, and raise when outbid.

    locust -f loadtest/traffic/locustfile.py --host http://127.0.0.1:8000 --tokens FILE ...

A member sends the next bid only after the answer to the last one, as people do; when the
service is slow the load falls. loadtest/README.md says what follows from that.
"""

import time
from argparse import ArgumentParser, Namespace
from collections import deque
from decimal import Decimal
from pathlib import Path
from typing import Any

import gevent  # type: ignore[import-untyped]
from gevent import GreenletExit
from locust import FastHttpUser, LoadTestShape, events, task
from locust.contrib.fasthttp import FastResponse
from locust.env import Environment
from locust.exception import StopUser
from locust.runners import MasterRunner, WorkerRunner

from loadtest.errors import LoadTestError
from loadtest.ledger import ledger
from loadtest.ledger.frames import Sightings
from loadtest.ledger.ledger import Attempt, Busy, Ledger, Timing
from loadtest.sale import members, plan, prices
from loadtest.sale.api import Api, Unreachable
from loadtest.sale.members import MemberToken
from loadtest.sale.plan import Plan, plan_of
from loadtest.sale.sale import Sale, join_sale, open_sale
from loadtest.sale.sending import PATH, bid_request
from loadtest.settings import DATA_PATH
from loadtest.traffic.locust_state import Bidder, ground
from loadtest.traffic.spectator import Spectator

JOIN = "join-sale"
TRIES = 4
RETRY_PAUSE_SECONDS = 0.3
BOARD_SHARE = 0.3
LATE_BIDDERS_SHARE = 0.3
# Locust moves a shape once a second; a step must be over before the next one.
MOST_SPAWNS_PER_SECOND = 1000
CLOSED_DOORS = frozenset({"session_ended", "session_inactive", "session_not_found"})


@events.init_command_line_parser.add_listener
def add_options(parser: ArgumentParser) -> None:
    """The knobs, on the command line and in Locust's web UI."""
    plan.add_options(parser)
    # Locust's own parser, which knows more than argparse's.
    group: Any = parser
    group.add_argument(
        "--tokens",
        default=str(members.TOKENS_PATH),
        metavar="FILE",
        help="members, as seed-members wrote them (%(default)s)",
    )
    group.add_argument(
        "--watchers",
        type=int,
        default=0,
        metavar="N",
        help="WebSockets that watch the board beside the members (%(default)s)",
    )
    group.add_argument(
        "--session", default="", metavar="ID", help="bid in this session instead of creating one"
    )
    group.add_argument(
        "--ledger",
        default=str(DATA_PATH / "reports"),
        metavar="FOLDER",
        help="where each process keeps its ledger (%(default)s)",
    )
    for name in ("token", "name", "password"):
        group.add_argument(
            f"--admin-{name}",
            env_var=f"FLASHBID_ADMIN_{name.upper()}",
            default="",
            # The web UI's page would hold the value, for everybody who can open it.
            include_in_web_ui=False,
            help=f"the {name} of an admin",
        )


@events.init.add_listener
def seat_watchers(environment: Environment, **_: Any) -> None:
    """As many as asked for; Locust takes a fixed count of none for any number."""
    Spectator.fixed_count = _options(environment).watchers
    if not Spectator.fixed_count:
        environment.user_classes.remove(Spectator)


@events.init.add_listener
def listen_to_master(environment: Environment, **_: Any) -> None:
    if isinstance(environment.runner, WorkerRunner):
        environment.runner.register_message(JOIN, _join_as_worker)


@events.test_start.add_listener
def begin(environment: Environment, **_: Any) -> None:
    """Open the sale, and hand out the members: each is in one process only."""
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
    wanted = plan_of(options)
    host = environment.host or ""
    everybody = members.read_tokens(Path(options.tokens), wanted.members)
    members.check_tokens(host, everybody)
    session_id = options.session or _create_session(host, options, wanted)
    runner = environment.runner
    if isinstance(runner, MasterRunner):
        _prepare(host, wanted, session_id, [], None)
        workers = list(runner.clients)
        for index, worker in enumerate(workers):
            share = [(m.user_id, m.token) for m in everybody[index :: len(workers)]]
            told = {"session_id": session_id, "members": share, "host": host}
            runner.send_message(JOIN, told | {"plan": wanted.options()}, worker)
    else:
        _prepare(host, wanted, session_id, everybody, Path(options.ledger))
    print(f"loadtest: session {session_id}, ledger in {options.ledger}", flush=True)


def _create_session(host: str, options: Namespace, wanted: Plan) -> str:
    token = members.admin_token(
        host, options.admin_token, options.admin_name, options.admin_password
    )
    return open_sale(Api(host, token), wanted).session_id


def _join_as_worker(environment: Environment, msg: Any, **_: Any) -> None:
    parser = ArgumentParser()
    plan.add_options(parser)
    told = msg.data
    _prepare(
        told["host"],
        plan_of(parser.parse_args(told["plan"])),
        told["session_id"],
        [MemberToken(*member) for member in told["members"]],
        Path(_options(environment).ledger),
    )


def _prepare(
    host: str, wanted: Plan, session_id: str, share: list[MemberToken], folder: Path | None
) -> None:
    ground.plan = wanted
    ground.sale = join_sale(Api(host), session_id)
    ground.free = deque(Bidder(member, wanted, ground.sale) for member in share)
    ground.threshold = None
    ground.sightings = Sightings(ground.sale.ahead)
    if ground.ledger:
        ground.ledger.close()
    ground.ledger = None
    if folder:
        path = ledger.ledger_path(folder, session_id)
        ground.ledger = Ledger(path, mode="closed", session_id=session_id, plan=wanted.options())
    Member.network_timeout = Member.connection_timeout = wanted.timeout
    gevent.spawn(_sample, ground.sale)


def _sample(sale: Sale) -> None:
    """Once a second, how many members are there, and how busy this process is."""
    busy = Busy()
    while ground.sale is sale and ground.ledger:
        ground.ledger.sample(
            at=time.time(), members=Member.present, in_flight=Member.waiting, cpu=busy.share()
        )
        _write_sightings()
        gevent.sleep(1)


def _write_sightings() -> None:
    """Keep what this process's watchers have seen, when there are any."""
    if Spectator.fixed_count and ground.sightings and ground.ledger:
        ground.sightings.write(ground.ledger)


@events.test_stop.add_listener
def end(**_: Any) -> None:
    _write_sightings()
    if ground.ledger and ground.sale:
        print(
            f"loadtest: verify with: python -m loadtest verify {ground.ledger.path.parent} "
            f"--session {ground.sale.session_id}",
            flush=True,
        )
    ground.sale = None


def _options(environment: Environment) -> Namespace:
    options: Namespace | None = environment.parsed_options
    assert options is not None  # noqa: S101 - Locust's command line always has them
    return options


class FlashSale(LoadTestShape):
    """Two spikes of members: at the opening, and exponentially toward the deadline."""

    def tick(self) -> tuple[int, float] | None:
        if ground.sale is None or ground.plan is None:
            # The first tick starts the test, and with it the sale, however long that takes.
            return 1, 1.0
        level = ground.plan.curve.level(ground.sale.elapsed)
        if level == 0.0:
            return None
        wanted = max(1, round(level * ground.plan.members))
        return wanted + Spectator.fixed_count, float(
            min(MOST_SPAWNS_PER_SECOND, max(1, ground.plan.members))
        )


class Member(FastHttpUser):
    """One member at a time is one user; who leaves makes room for the next."""

    present = 0
    waiting = 0

    def wait_time(self) -> float:
        """From bid to bid, about the plan's pace."""
        return self.bidder.random.uniform(0.5, 1.5) * self.plan.pace_seconds

    def on_start(self) -> None:
        if ground.sale is None or ground.plan is None or not ground.free:
            raise StopUser
        self.sale, self.plan = ground.sale, ground.plan
        self.bidder = ground.free.popleft()
        Member.present += 1
        self.bids_from = self._first_move()

    def on_stop(self) -> None:
        if hasattr(self, "bidder"):
            Member.present -= 1
            ground.free.append(self.bidder)

    def _first_move(self) -> float:
        """When this member starts to bid: some only at the very end of the sale."""
        random, curve = self.bidder.random, self.plan.curve
        if self.sale.elapsed >= 0 and random.random() < LATE_BIDDERS_SHARE:
            return curve.duration_seconds - random.expovariate(2 / curve.closing_seconds)
        return 0.0

    @task
    def take_part(self) -> None:
        """Wait for the moment, look at the board now and then, bid or raise."""
        if self.sale.elapsed < 0:
            self._watch()
            gevent.sleep(max(0.0, -self.sale.elapsed))
        still = self.bids_from - self.sale.elapsed
        if still > 0:
            self._watch()
            gevent.sleep(min(still, self.plan.pace_seconds))
            if still > self.plan.pace_seconds:
                return
        if ground.threshold is None or self.bidder.random.random() < BOARD_SHARE:
            self._watch()
        price = self._next_price()
        if price is not None:
            self._bid(price)

    def _watch(self) -> None:
        path = f"/api/leaderboard/{self.sale.session_id}?page_size=10"
        with self.client.get(path, name="watch the board", catch_response=True) as answer:
            if answer.status_code == 200:
                board = answer.json()
                ground.threshold = board["threshold_score"]
            elif answer.status_code:
                answer.failure(f"HTTP {answer.status_code}")

    def _next_price(self) -> Decimal | None:
        """None while the standing bid wins, or when winning costs more than it is worth."""
        bidder, terms = self.bidder, self.sale.terms
        if ground.threshold is None:
            return prices.first(bidder.random, terms.upset_price)
        if bidder.score >= ground.threshold:
            return None
        needed = terms.price_for(ground.threshold, self.sale.elapsed, bidder.weight)
        return prices.higher(
            bidder.random,
            needed=max(needed, terms.upset_price),
            standing=bidder.standing,
            limit=bidder.limit,
        )

    def _bid(self, price: Decimal) -> None:
        """Send the bid until it is answered. Repeating is safe: the second one is a replay."""
        for _ in range(TRIES):
            attempt = self._send(price)
            if not attempt.may_stand or attempt.is_answered_yes:
                break
            gevent.sleep(RETRY_PAUSE_SECONDS)
        if attempt.is_answered_yes:
            self.bidder.keep(price, attempt)
        elif attempt.kind in CLOSED_DOORS:
            # Nothing more to do here; the shape takes everybody home soon.
            gevent.sleep(1)

    def _send(self, price: Decimal) -> Attempt:
        body, headers = bid_request(self.sale.session_id, self.bidder.member, price)
        sent_at, began = time.time(), time.perf_counter()
        Member.waiting += 1
        try:
            with self.client.post(
                PATH, data=body, headers=headers, name="bid", catch_response=True
            ) as answer:
                timing = _timing(sent_at, began)
                attempt = self._judge(price, timing, answer)
                if attempt.is_error:
                    answer.failure(attempt.kind)
                else:
                    answer.success()
        # Ctrl-C ends whichever member is at work.
        except (GreenletExit, KeyboardInterrupt):
            attempt = ledger.unanswered(
                self.bidder.member.user_id, price, _timing(sent_at, began), ledger.ABANDONED
            )
            self._keep(attempt)
            raise
        finally:
            Member.waiting -= 1
        self._keep(attempt)
        return attempt

    def _judge(self, price: Decimal, timing: Timing, answer: FastResponse) -> Attempt:
        if answer.status_code:
            return ledger.answered(
                self.bidder.member.user_id, price, timing, answer.status_code, answer.content
            )
        # The client wraps what went wrong into its own kind of error.
        error = getattr(answer, "error", None)
        kind = ledger.failure(getattr(error, "original", error))
        return ledger.unanswered(self.bidder.member.user_id, price, timing, kind)

    @staticmethod
    def _keep(attempt: Attempt) -> None:
        if ground.ledger:
            ground.ledger.attempt(attempt)


def _timing(sent_at: float, began: float) -> Timing:
    return Timing(sent_at, sent_at, sent_at + time.perf_counter() - began)


__all__ = ["FlashSale", "Member", "Spectator"]
