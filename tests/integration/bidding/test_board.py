"""read_board.lua and read_standing.lua, and the board before and after the results."""

import asyncio
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import closing
from dataclasses import replace
from decimal import Decimal
from math import inf
from threading import Event
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import text
from sqlalchemy.exc import ProgrammingError

from core import errors
from core.bidding.board import BoardPage, State
from core.bidding.session_lookup import SessionLookup
from core.redis import keys, scripts
from core.rules.lifecycle import Status
from core.runtime import Background
from core.sessions.sessions import SessionView
from tests.support.factories import Shop
from tests.support.racing import BARRIER_SECONDS

BY_PRICE = {"alpha": 1.0, "beta": 0.0, "gamma": 0.0}


def board(shop: Shop, session: SessionView, page: int = 1, page_size: int = 50) -> BoardPage:
    return shop.services.board.page(session.session_id, page=page, page_size=page_size)


def places(page: BoardPage) -> list[tuple[int, str, Decimal, bool]]:
    return [
        (entry.rank, entry.username, entry.price, entry.is_winner) for entry in page.leaderboard
    ]


def read(shop: Shop, session: SessionView) -> tuple[list[Any], list[Any]]:
    """The two scripts' own replies, for a member without a bid."""
    redis, session_id = shop.services.redis, session.session_id
    names = [keys.session_params(session_id), keys.ranking(session_id)]
    prefix = keys.standing_bid_prefix(session_id)
    return (
        scripts.read_board(redis, names, [prefix, 0, 9]),
        scripts.read_standing(redis, [*names, keys.standing_bid(session_id, "x")], ["x"]),
    )


def test_a_session_that_redis_does_not_know_has_no_board(shop: Shop) -> None:
    session = shop.session()
    shop.services.redis.flushdb()
    assert read(shop, session) == (["unknown_session"], ["unknown_session"])


def test_a_published_session_has_its_board_in_postgresql(shop: Shop) -> None:
    session = shop.session()
    shop.close(session)
    assert read(shop, session) == (["final"], ["final"])


def test_who_has_not_bid_has_no_standing(shop: Shop) -> None:
    session = shop.session()
    shop.bid(shop.bidder(), session, "120")
    assert read(shop, session)[1] == ["no_bid"]


def test_reading_writes_nothing(shop: Shop) -> None:
    session, bidder = shop.session(), shop.bidder()
    shop.bid(bidder, session, "120")
    before = shop.redis_state()
    board(shop, session)
    shop.services.board.standing(session.session_id, bidder.user_id)
    assert shop.redis_state() == before


def test_an_empty_board_has_no_threshold(shop: Shop) -> None:
    page = board(shop, shop.session())
    assert (page.leaderboard, page.total_count, page.total_pages) == ([], 0, 0)
    assert (page.threshold_score, page.highest_bid) == (None, None)


def test_a_board_lists_bids_by_rank(shop: Shop) -> None:
    session = shop.session(inventory=2, **BY_PRICE)
    for name, price in (("ann", "120"), ("bob", "140"), ("cat", "130")):
        shop.bid(shop.bidder(name), session, price)
    page = board(shop, session)
    assert places(page) == [
        (1, "bob", Decimal("140.00"), True),
        (2, "cat", Decimal("130.00"), True),
        (3, "ann", Decimal("120.00"), False),
    ]
    assert (page.threshold_score, page.highest_bid) == (130.0, Decimal("140.00"))
    assert page.provisional


@pytest.mark.parametrize("finished", [False, True])
def test_pages_cut_the_board_without_loss(shop: Shop, finished: bool) -> None:
    session = shop.session(inventory=2, **BY_PRICE)
    for number in range(5):
        shop.bid(shop.bidder(), session, str(120 + number))
    if finished:
        shop.close(session)
    pages = [board(shop, session, page=number, page_size=2) for number in (1, 2, 3, 4)]
    assert [[entry.rank for entry in page.leaderboard] for page in pages] == [
        [1, 2],
        [3, 4],
        [5],
        [],
    ]
    assert {(page.total_count, page.total_pages) for page in pages} == {(5, 3)}
    assert {page.threshold_score for page in pages} == {123.0}


def test_the_final_board_shows_what_the_provisional_one_did(shop: Shop) -> None:
    session = shop.session(inventory=2)
    bidders = [shop.bidder() for _ in range(4)]
    for number, bidder in enumerate(bidders):
        shop.bid(bidder, session, str(150 - number))
    before = board(shop, session)
    standings = [
        shop.services.board.standing(session.session_id, bidder.user_id) for bidder in bidders
    ]
    shop.close(session)
    after = board(shop, session)
    assert (before.provisional, after.provisional) == (True, False)
    assert (before.status, after.status) == (Status.ACTIVE, Status.ENDED)
    # Only results say what winners pay.
    final = [replace(entry, price_to_pay=None) for entry in after.leaderboard]
    assert final == before.leaderboard
    for field in ("highest_bid", "threshold_score", "total_count"):
        assert getattr(after, field) == getattr(before, field)
    assert standings == [
        shop.services.board.standing(session.session_id, bidder.user_id) for bidder in bidders
    ]


def test_a_board_between_end_and_results_is_ended_and_provisional(shop: Shop) -> None:
    session = shop.session()
    shop.bid(shop.bidder(), session, "120")
    shop.end(session)
    page = board(shop, session)
    assert (page.status, page.provisional, page.total_count) == (Status.ENDED, True, 1)


@pytest.mark.parametrize("finished", [False, True])
def test_a_standing_tells_rank_and_threshold(shop: Shop, finished: bool) -> None:
    session = shop.session(inventory=1, **BY_PRICE)
    low, high = shop.bidder(), shop.bidder()
    shop.bid(low, session, "120")
    shop.bid(high, session, "130")
    if finished:
        shop.close(session)
    standing = shop.services.board.standing(session.session_id, low.user_id)
    assert (standing.rank, standing.is_winner, standing.price) == (2, False, Decimal("120.00"))
    assert (standing.score, standing.threshold_score, standing.total_count) == (120.0, 130.0, 2)


@pytest.mark.parametrize("finished", [False, True])
def test_a_standing_without_a_bid_is_refused(shop: Shop, finished: bool) -> None:
    session = shop.session()
    shop.bid(shop.bidder(), session, "120")
    if finished:
        shop.close(session)
    with pytest.raises(errors.NoBid):
        shop.services.board.standing(session.session_id, uuid4())


def test_the_board_of_a_session_that_nobody_made_is_refused(shop: Shop) -> None:
    with pytest.raises(errors.SessionNotFound):
        shop.services.board.page(uuid4(), page=1, page_size=50)


def test_a_board_that_redis_lost_is_read_again(shop: Shop) -> None:
    session = shop.session()
    shop.bid(shop.bidder(), session, "120")
    before = board(shop, session)
    shop.drain(session)
    shop.services.redis.flushdb()
    after = board(shop, session)
    assert after.leaderboard == before.leaderboard


def test_a_final_board_does_not_need_the_sessions_keys(shop: Shop) -> None:
    session = shop.session()
    shop.bid(shop.bidder(), session, "120")
    shop.close(session)
    before = board(shop, session)
    shop.services.redis.flushdb()
    assert board(shop, session).leaderboard == before.leaderboard
    assert shop.redis_state() == {}


def state_of(shop: Shop, session: SessionView) -> State:
    return shop.services.runtime.loop.run(shop.services.board.state(session.session_id))


def test_state_moves_with_whatever_a_board_shows(shop: Shop) -> None:
    session = shop.session()
    states = [state_of(shop, session)]
    shop.bid(shop.bidder(), session, "150")
    states.append(state_of(shop, session))
    shop.services.sessions.deactivate(session.session_id)
    states.append(state_of(shop, session))
    shop.end(session)
    states.append(state_of(shop, session))
    shop.close(session)
    states.append(state_of(shop, session))
    assert len(set(map(tuple, states))) == len(states)


def test_state_rests_while_a_bid_is_only_repeated(shop: Shop) -> None:
    session, bidder = shop.session(), shop.bidder()
    shop.bid(bidder, session, "150")
    before = state_of(shop, session)
    shop.bid(bidder, session, "150")
    assert state_of(shop, session) == before


# Boards of sessions that nobody made


class HeldLookup(SessionLookup):
    """Keeps what it asks PostgreSQL, and does not ask it before it may."""

    def __init__(self, shop: Shop, *, max_wait_seconds: float = inf) -> None:
        self._own = Background(threads=1, max_wait_seconds=max_wait_seconds)
        super().__init__(shop.services.database, self._own, max_wait_seconds=max_wait_seconds)
        self.asked: list[frozenset[UUID]] = []
        self.may_ask = Event()
        self._loop = shop.services.runtime.loop

    def require_all(self, *session_ids: UUID) -> "Future[list[Exception | None]]":
        """What each is answered, at last; all wait for it when this returns."""
        asking: Future[list[Exception | None]] = Future()

        async def ask() -> None:
            questions = [self.require(session_id) for session_id in session_ids]
            answers = asyncio.gather(*questions, return_exceptions=True)
            answers.add_done_callback(lambda done: asking.set_result(done.result()))
            # Each asks in a task of its own, and then the carrier does.
            for _ in range(3):
                await asyncio.sleep(0)

        self._loop.run(ask())
        return asking

    def close(self) -> None:
        self.may_ask.set()
        self._own.close()

    def _which_exist(self, session_ids: frozenset[UUID]) -> set[UUID]:
        self.asked.append(session_ids)
        self.may_ask.wait(BARRIER_SECONDS)
        return super()._which_exist(session_ids)


@pytest.fixture
def lookup(shop: Shop) -> Iterator[HeldLookup]:
    with closing(HeldLookup(shop)) as lookup:
        yield lookup


def test_all_who_look_at_boards_of_nothing_meanwhile_are_one_question(
    shop: Shop, lookup: HeldLookup
) -> None:
    first, *others = [uuid4() for _ in range(50)]
    looks = [lookup.require_all(first), lookup.require_all(*others)]
    lookup.may_ask.set()
    answers = [answer for look in looks for answer in look.result(BARRIER_SECONDS)]
    assert {type(answer) for answer in answers} == {errors.SessionNotFound}
    assert lookup.asked == [{first}, set(others)]


def test_who_comes_while_a_question_is_under_way_is_of_the_next(
    shop: Shop, lookup: HeldLookup
) -> None:
    early = lookup.require_all(uuid4())
    session = shop.session()
    late = lookup.require_all(session.session_id)
    lookup.may_ask.set()
    assert [type(answer) for answer in early.result(BARRIER_SECONDS)] == [errors.SessionNotFound]
    assert late.result(BARRIER_SECONDS) == [None]


def test_a_question_that_failed_has_failed_for_all_who_asked_it(
    shop: Shop, lookup: HeldLookup
) -> None:
    looks = [lookup.require_all(uuid4()), lookup.require_all(uuid4(), uuid4())]
    with shop.services.engine.begin() as connection:
        connection.execute(text("ALTER TABLE sessions RENAME TO away"))
    try:
        lookup.may_ask.set()
        answers = [answer for look in looks for answer in look.result(BARRIER_SECONDS)]
    finally:
        with shop.services.engine.begin() as connection:
            connection.execute(text("ALTER TABLE away RENAME TO sessions"))
    assert [type(answer) for answer in answers] == [ProgrammingError] * 3
    [answer] = lookup.require_all(uuid4()).result(BARRIER_SECONDS)
    assert type(answer) is errors.SessionNotFound


def test_a_question_that_postgresql_does_not_answer_is_given_up(shop: Shop) -> None:
    with closing(HeldLookup(shop, max_wait_seconds=0.05)) as lookup:
        looks = [lookup.require_all(uuid4()), lookup.require_all(uuid4(), uuid4())]
        answers = [answer for look in looks for answer in look.result(BARRIER_SECONDS)]
        assert {type(answer) for answer in answers} == {errors.TemporarilyUnavailable}


def test_a_look_at_a_board_of_nothing_is_answered(shop: Shop) -> None:
    with pytest.raises(errors.SessionNotFound):
        shop.services.board.page(uuid4(), page=1, page_size=10)


def test_the_board_of_a_session_that_redis_lost_is_loaded(shop: Shop) -> None:
    session = shop.session()
    shop.services.redis.delete(keys.session_params(session.session_id))
    assert shop.services.board.page(session.session_id, page=1, page_size=10).total_count == 0


# What tells that a board has changed


def states(shop: Shop, session: SessionView, askers: int) -> list[State]:
    async def ask() -> list[State]:
        return await asyncio.gather(
            *[shop.services.board.state(session.session_id) for _ in range(askers)]
        )

    return shop.services.runtime.loop.run(ask())


def test_a_boards_state_changes_with_every_bid_and_with_its_status(shop: Shop) -> None:
    session, bidder = shop.session(), shop.bidder()
    seen = states(shop, session, 1)
    shop.bid(bidder, session, "120")
    seen += states(shop, session, 1)
    shop.services.sessions.deactivate(session.session_id)
    seen += states(shop, session, 1)
    assert all(seen[at] != seen[at + 1] for at in range(2))
    assert states(shop, session, 1) == seen[-1:]


def test_all_who_ask_for_a_state_at_once_are_one_question(shop: Shop) -> None:
    session = shop.session()
    before = shop.services.redis.info("commandstats")["cmdstat_hmget"]["calls"]
    first, *others = states(shop, session, 100)
    assert others == [first] * 99
    assert shop.services.redis.info("commandstats")["cmdstat_hmget"]["calls"] == before + 1
