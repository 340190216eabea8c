"""read_board.lua and read_standing.lua, and the board before and after the results."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import event, text
from sqlalchemy.exc import ProgrammingError

from core import clock, errors, keys, scripts
from core.board import BoardPage, Mark
from core.lifecycle import Status
from core.sessions import SessionView
from core.steps import SlowStep, Steps
from tests.factories import Shop

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
    assert after.leaderboard == before.leaderboard
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


def test_mark_moves_with_whatever_a_board_shows(shop: Shop) -> None:
    session = shop.session()
    board, other = shop.services.board, uuid4()

    def mark() -> Mark | None:
        [unknown, known] = board.marks([other, session.session_id])
        assert unknown is None
        return known

    marks = [mark()]
    bidder = shop.bidder()
    shop.bid(bidder, session, "150")
    marks.append(mark())
    shop.services.sessions.deactivate(session.session_id)
    marks.append(mark())
    shop.end(session)
    marks.append(mark())
    shop.close(session)
    marks.append(mark())
    assert len(set(marks)) == len(marks)


def test_mark_rests_while_a_bid_is_only_repeated(shop: Shop) -> None:
    session, bidder = shop.session(), shop.bidder()
    shop.bid(bidder, session, "150")
    before = shop.services.board.marks([session.session_id])
    shop.bid(bidder, session, "150")
    assert shop.services.board.marks([session.session_id]) == before


def test_mark_of_a_scheduled_session_moves_when_its_time_has_come(shop: Shop) -> None:
    start = clock.now(shop.services.redis) + timedelta(hours=1)
    session = shop.session(start_time=start, duration=timedelta(hours=2))
    before = shop.services.board.marks([session.session_id])
    shop.begin(session)
    assert shop.services.board.marks([session.session_id]) != before


# Boards of sessions that nobody made


class Looks:
    """Looks at boards, step by step."""

    def __init__(self, shop: Shop) -> None:
        self._board = shop.services.board

    def begin(self, session_id: UUID) -> tuple[Steps[Any], SlowStep]:
        """A look that Redis knows nothing of, and the slow step it waits for."""
        steps = self._board.page_steps(session_id, page=1, page_size=10)
        step: Any = next(steps)
        while not callable(step):
            step = steps.send(self._board.calls.execute_command(*step))
        return steps, step


@contextmanager
def counting_statements(shop: Shop) -> Iterator[list[str]]:
    statements: list[str] = []

    def note(*arguments: Any) -> None:
        statements.append(arguments[2])

    event.listen(shop.services.engine, "before_cursor_execute", note)
    try:
        yield statements
    finally:
        event.remove(shop.services.engine, "before_cursor_execute", note)


def test_all_who_look_at_boards_of_nothing_are_one_question(shop: Shop) -> None:
    looks = Looks(shop)
    begun = [looks.begin(uuid4()) for _ in range(50)]
    [step] = {step for _, step in begun}
    with counting_statements(shop) as statements:
        step()
    assert len(statements) == 1
    for steps, _ in begun:
        with pytest.raises(errors.SessionNotFound):
            steps.send(None)


def test_who_comes_while_a_question_is_under_way_is_of_the_next(shop: Shop) -> None:
    looks, session = Looks(shop), shop.session()
    _, step = looks.begin(uuid4())
    step()
    shop.services.redis.delete(keys.session_params(session.session_id))
    late, joined = looks.begin(session.session_id)
    assert joined == step
    # It shared a step that had begun before, and so does not know yet.
    assert late.send(None) == step
    step()
    # It exists: now it is loaded.
    assert late.send(None) != step
    late.close()
    assert shop.services.board.page(session.session_id, page=1, page_size=10).total_count == 0


def test_a_question_that_failed_has_failed_for_all_who_asked_it(shop: Shop) -> None:
    looks = Looks(shop)
    (_, step), (other, _) = looks.begin(uuid4()), looks.begin(uuid4())
    with shop.services.engine.begin() as connection:
        connection.execute(text("ALTER TABLE sessions RENAME TO away"))
    try:
        with pytest.raises(ProgrammingError):
            step()
    finally:
        with shop.services.engine.begin() as connection:
            connection.execute(text("ALTER TABLE away RENAME TO sessions"))
    with pytest.raises(errors.TemporarilyUnavailable):
        other.send(None)
    with pytest.raises(errors.SessionNotFound):
        shop.services.board.page(uuid4(), page=1, page_size=10)
