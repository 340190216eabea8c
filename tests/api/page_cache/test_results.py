"""Kept pages of results: made once, bounded by their bytes, and never a refusal."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import event

from core import errors
from core.bootstrap import Services
from core.sessions.sessions import SessionView
from tests.api.conftest import CheckedClient
from tests.support.factories import Shop
from web.http import schemas
from web.http.buckets import Buckets, TooMany
from web.http.responses import encode
from web.page_cache import results
from web.page_cache.results import ResultsPages


@pytest.fixture
def begun(services: Services) -> Iterator[list[object]]:
    """One entry for each transaction since then."""
    transactions: list[object] = []

    def note(*arguments: object) -> None:
        transactions.append(arguments)

    event.listen(services.database, "after_begin", note)
    yield transactions
    event.remove(services.database, "after_begin", note)


def pages_of(shop: Shop, misses_per_minute: int = 0) -> ResultsPages:
    return ResultsPages(shop.services.results, Buckets("uncached-pages", misses_per_minute))


def page_of(
    pages: ResultsPages,
    session: SessionView,
    page: int = 1,
    page_size: int = 50,
    reader: str = "reader",
) -> bytes:
    return pages.page(session.session_id, page=page, page_size=page_size, reader=reader)


@pytest.fixture
def closed(shop: Shop) -> SessionView:
    session = shop.session()
    shop.bid(shop.bidder(), session, "150")
    shop.close(session)
    return session


def test_results_are_read_once(
    anyone: CheckedClient, closed: SessionView, begun: list[object]
) -> None:
    path = f"/api/results/{closed.session_id}"
    first = anyone.get(path)
    assert begun
    begun.clear()
    assert anyone.get(path).data == first.data
    assert begun == []
    assert anyone.get(f"{path}?page=2").json["page"] == 2


def test_results_that_are_refused_are_asked_for_again(shop: Shop) -> None:
    session = shop.session()
    pages = pages_of(shop)
    with pytest.raises(errors.SessionNotEnded):
        page_of(pages, session)
    shop.close(session)
    assert b'"winners":[]' in page_of(pages, session)


def test_pages_that_were_not_asked_for_lately_make_room(
    shop: Shop, closed: SessionView, begun: list[object], monkeypatch: pytest.MonkeyPatch
) -> None:
    pages = pages_of(shop)

    def is_kept(page: int) -> bool:
        begun.clear()
        page_of(pages, closed, page)
        return not begun

    size = len(page_of(pages, closed, 2))
    monkeypatch.setattr(results, "_MAX_BYTES", int(2.5 * size))
    assert [is_kept(page) for page in (3, 2, 4, 2, 3)] == [False, True, False, True, False]


def test_a_page_larger_than_all_room_is_answered_and_not_kept(
    shop: Shop, closed: SessionView, begun: list[object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(results, "_MAX_BYTES", 10)
    pages = pages_of(shop)
    for _ in range(2):
        begun.clear()
        assert len(page_of(pages, closed)) > 10
        assert begun


@pytest.fixture
def crowded(shop: Shop) -> SessionView:
    """Seven bidders for five items."""
    session = shop.session(inventory=5, beta=0.0)
    for price in range(150, 157):
        shop.bid(shop.bidder(), session, str(price))
    shop.close(session)
    return session


def ranks(page: bytes, part: str) -> list[int]:
    return [entry["rank"] for entry in json.loads(page)[part]]


def test_the_first_page_names_all_winners_and_any_other_its_own(
    shop: Shop, crowded: SessionView
) -> None:
    pages = pages_of(shop)
    read = [page_of(pages, crowded, page, 3) for page in (1, 2, 3, 4)]
    assert [ranks(page, "rankings") for page in read] == [[1, 2, 3], [4, 5, 6], [7], []]
    assert [ranks(page, "winners") for page in read] == [[1, 2, 3, 4, 5], [4, 5], [], []]
    assert {json.loads(page)["total_winners"] for page in read} == {5}


@pytest.mark.parametrize("page_size", [1, 2, 50])
@pytest.mark.parametrize("page", [1, 2, 9])
def test_a_page_is_what_the_schema_dumps(
    shop: Shop, crowded: SessionView, page: int, page_size: int
) -> None:
    found = shop.services.results.get(crowded.session_id, page=page, page_size=page_size)
    document = schemas.Results().dump(found)
    if page == 1:
        winners = shop.services.results.winners(crowded.session_id)
        document["winners"] = schemas.ResultEntry(many=True).dump(winners)
    assert page_of(pages_of(shop), crowded, page, page_size) == encode(document)


def test_winners_are_made_once_for_all_pages_and_watchers(
    shop: Shop, crowded: SessionView, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[object] = []
    winners = shop.services.results.winners
    monkeypatch.setattr(
        shop.services.results, "winners", lambda *a: (made.append(a), winners(*a))[1]
    )
    pages = pages_of(shop)
    with ThreadPoolExecutor(16) as pool:
        sizes = [*range(1, 101)] * 2
        read = list(pool.map(lambda size: page_of(pages, crowded, 1, size), sizes))
        told = list(pool.map(lambda _: pages.winners_only(crowded.session_id), sizes))
    assert len(made) == 1
    assert {tuple(ranks(page, "winners")) for page in (*read, *told)} == {(1, 2, 3, 4, 5)}
    assert "rankings" not in json.loads(told[0])


def test_a_later_page_holds_no_more_than_itself(shop: Shop, crowded: SessionView) -> None:
    pages = pages_of(shop)
    page_of(pages, crowded)
    before = pages._size_bytes
    for page in range(2, 102):
        assert len(page_of(pages, crowded, page, 1)) < 1200
    assert pages._size_bytes - before < 100 * 1200


def test_pages_that_are_not_cached_are_limited_by_reader(
    shop: Shop, crowded: SessionView, begun: list[object]
) -> None:
    pages = pages_of(shop, misses_per_minute=1)  # one at once
    page_of(pages, crowded, 4, 1)
    begun.clear()
    with pytest.raises(TooMany) as refused:
        page_of(pages, crowded, 5, 1)
    assert refused.value.retry_after_seconds >= 1
    assert begun == []
    # What is cached is for everybody, and the first page always.
    for page in (1, 4):
        page_of(pages, crowded, page, 1)
    page_of(pages, crowded, 5, 1, reader="elsewhere")
