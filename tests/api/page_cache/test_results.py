"""Kept pages of results: made once, bounded by their bytes, and never a refusal."""

from collections.abc import Iterator

import pytest
from sqlalchemy import event

from core import errors
from core.bootstrap import Services
from core.sessions.sessions import SessionView
from tests.api.conftest import CheckedClient
from tests.support.factories import Shop
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
    pages = ResultsPages(shop.services.results)
    with pytest.raises(errors.SessionNotEnded):
        pages.page(session.session_id, page=1, page_size=50)
    shop.close(session)
    assert b'"winners":[]' in pages.page(session.session_id, page=1, page_size=50)


def test_pages_that_were_not_asked_for_lately_make_room(
    shop: Shop, closed: SessionView, begun: list[object], monkeypatch: pytest.MonkeyPatch
) -> None:
    pages = ResultsPages(shop.services.results)

    def is_kept(page: int) -> bool:
        begun.clear()
        pages.page(closed.session_id, page=page, page_size=50)
        return not begun

    size = len(pages.page(closed.session_id, page=1, page_size=50))
    monkeypatch.setattr(results, "_MAX_BYTES", int(2.5 * size))
    assert [is_kept(page) for page in (2, 1, 3, 1, 2)] == [False, True, False, True, False]


def test_a_page_larger_than_all_room_is_answered_and_not_kept(
    shop: Shop, closed: SessionView, begun: list[object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(results, "_MAX_BYTES", 10)
    pages = ResultsPages(shop.services.results)
    for _ in range(2):
        begun.clear()
        assert len(pages.page(closed.session_id, page=1, page_size=50)) > 10
        assert begun
