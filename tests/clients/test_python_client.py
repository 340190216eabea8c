"""The Python client against the whole stack, also over a way that loses answers."""

import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from http import HTTPStatus
from pathlib import Path
from threading import Thread
from typing import Any
from uuid import uuid4

import pytest
from werkzeug.serving import make_server
from werkzeug.wrappers import Response

from core.config import PROJECT_ROOT
from dev.children import free_port
from dev.stack import Stack, wait_until
from flashbid_client import Flashbid, Refused, Unreachable, sending
from flashbid_client.models import Board, FinalResults, NewProductAndSession, SessionChanges
from tests.support.http.client import Client
from tests.support.http.lossy import LossyWay, lossy_way

FOLDER = PROJECT_ROOT / "clients" / "python"
[EXAMPLE] = re.findall(r"```python\n(.*?)```", (FOLDER / "README.md").read_text(), re.DOTALL)
DRAINED_SECONDS = 30.0
SALE = NewProductAndSession(name="Lamp", upset_price=100, inventory=1)


@pytest.fixture
def way(stack: Stack) -> Iterator[LossyWay]:
    with lossy_way("127.0.0.1", stack.port) as way:
        yield way


@pytest.fixture
def client_of(stack: Stack) -> Iterator[Callable[..., Flashbid]]:
    """The client under test with the token of one of the stack's callers."""
    with ExitStack() as opened:

        def make(caller: Client, *, port: int = 0, **options: Any) -> Flashbid:
            url = f"http://127.0.0.1:{port or stack.port}"
            return opened.enter_context(Flashbid(url, caller.token, **options))

        yield make


@pytest.fixture
def slow_bids(stack: Stack) -> Iterator[Stack]:
    """It takes a bid of a member in ten seconds."""
    limit = {"BID_RATE_PER_SECOND": "0.1", "BID_RATE_BURST": "1"}
    with stack.with_settings(("web",), limit):
        yield stack


@contextmanager
def answering(*answers: Response) -> Iterator[tuple[Flashbid, list[str]]]:
    """A client of a server with these answers, one after the other; what was asked."""
    asked: list[str] = []
    left = iter(answers)

    def serve(environ: dict[str, Any], start: Any) -> Any:
        asked.append(f"{environ['REQUEST_METHOD']} {environ['PATH_INFO']}")
        return next(left)(environ, start)

    server = make_server("127.0.0.1", 0, serve)
    thread = Thread(target=server.serve_forever)
    thread.start()
    try:
        with Flashbid(f"http://127.0.0.1:{server.server_port}") as client:
            yield client, asked
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def problem(status: int, code: str, **headers: str) -> Response:
    said = f'"type":"x","title":"x","detail":"Said.","request_id":"1","code":"{code}"'
    return Response(f'{{{said},"status":{status}}}', status, headers)


# The pages' example


def test_the_example_runs_a_sale(empty_shop: None, stack: Stack) -> None:
    with Flashbid(f"http://127.0.0.1:{stack.port}") as first:
        assert first.register("admin", "admin@example.com", "a long phrase").is_admin
        assert first.account().username == "admin"
    done = subprocess.run(  # noqa: S603 - the page's own lines
        [sys.executable, "-c", EXAMPLE],
        cwd=FOLDER,
        env={"SHOP": f"http://127.0.0.1:{stack.port}", "ADMIN_PASSWORD": "a long phrase"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    rank, code, winners = done.stdout.splitlines()
    assert re.fullmatch(r"Rank 1 with a score of \d+\.\d\d", rank)
    assert (code, winners) == ("score_would_drop", "['ada']")


def test_a_strict_type_checker_accepts_the_example_and_finds_a_mistake(tmp_path: Path) -> None:
    for name, code, is_right in (
        ("right.py", EXAMPLE, True),
        ("wrong.py", EXAMPLE.replace("bid.rank", "bid.place"), False),
    ):
        (tmp_path / name).write_text(code)
        checked = subprocess.run(  # noqa: S603 - our own arguments
            [sys.executable, "-m", "mypy", "--strict", "--config-file=", str(tmp_path / name)],
            cwd=FOLDER,
            capture_output=True,
            text=True,
            check=False,
        )
        assert (checked.returncode == 0) == is_right, checked.stdout
        assert is_right or '"PlacedBid" has no attribute "place"' in checked.stdout


# What is repeated


def test_a_bid_whose_answer_is_lost_counts_once(
    way: LossyWay,
    client_of: Callable[..., Flashbid],
    member: Callable[..., Client],
    new_session: Callable[..., dict[str, Any]],
) -> None:
    session_id = new_session()["session_id"]
    bidder = client_of(member(), port=way.port)
    way.lose_reply("POST /api/bid", lambda: None, breaks=True)
    bid = bidder.place_bid(session_id, "150.07", only_if_better=True)
    assert way.has_lost.is_set()
    assert (bid.sequence, bid.price, bid.replayed) == (1, 150.07, True)
    assert bidder.standing(session_id).price == 150.07


def test_a_sale_whose_answer_is_lost_is_created_once(
    way: LossyWay, client_of: Callable[..., Flashbid], empty_shop: None, admin: Client
) -> None:
    way.lose_reply("POST /api/admin/sessions/combined", lambda: None, breaks=True)
    created = client_of(admin, port=way.port).create_session(SALE)
    assert way.has_lost.is_set()
    found = list(client_of(admin).sessions())
    assert [session.session_id for session in found] == [created.session_id]


def test_a_registration_whose_answer_is_lost_is_not_repeated(way: LossyWay) -> None:
    way.lose_reply("POST /api/auth/register", lambda: None, breaks=True)
    with Flashbid(f"http://127.0.0.1:{way.port}") as client, pytest.raises(Unreachable):
        client.register(f"m{uuid4().hex}", f"{uuid4().hex}@example.com", "a long phrase")


def test_a_member_at_the_limit_of_bids_waits_as_asked(
    slow_bids: Stack,
    client_of: Callable[..., Flashbid],
    member: Callable[..., Client],
    new_session: Callable[..., dict[str, Any]],
) -> None:
    session_id, bidder = new_session()["session_id"], member()
    hasty, patient = client_of(bidder, patience_seconds=0), client_of(bidder)
    hasty.place_bid(session_id, 110)
    with pytest.raises(Refused) as limited:
        hasty.place_bid(session_id, 120)
    assert (limited.value.status, limited.value.code) == (429, "rate_limited")
    assert limited.value.retry_after_seconds >= 1
    assert patient.place_bid(session_id, 130).price == 130


@pytest.mark.parametrize(
    ("answer", "is_repeated"),
    [
        (problem(503, "overloaded", **{"Retry-After": "1"}), True),
        (problem(429, "rate_limited", **{"Retry-After": "1"}), True),
        (problem(503, "temporarily_unavailable", **{"Retry-After": "1"}), False),
        (problem(401, "invalid_credentials"), False),
        (Response("<h1>Bad Gateway</h1>", 502), False),
    ],
)
def test_a_login_is_repeated_only_if_nothing_was_done(answer: Response, is_repeated: bool) -> None:
    with answering(answer, problem(401, "invalid_credentials")) as (client, asked):
        with pytest.raises(Refused):
            client.login("ada", "a long phrase")
        assert len(asked) == (2 if is_repeated else 1)


def test_a_read_is_repeated_while_the_service_is_away() -> None:
    away = (Response("<h1>Bad Gateway</h1>", 502), problem(503, "overloaded"))
    with answering(*away, problem(404, "session_not_found")) as (client, asked):
        with pytest.raises(Refused, match=r"Said\.") as refused:
            client.session(uuid4())
        assert (len(asked), refused.value.code) == (3, "session_not_found")


def test_no_longer_pause_is_made_than_the_patience_lasts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sending.time, "sleep", pytest.fail)
    answer = problem(503, "overloaded", **{"Retry-After": "31"})
    with answering(answer) as (client, asked), pytest.raises(Refused) as refused:
        client.session(uuid4())
    assert (len(asked), refused.value.retry_after_seconds) == (1, 31.0)


# Errors


def test_a_refusal_has_its_code_and_fields(
    client_of: Callable[..., Flashbid],
    member: Callable[..., Client],
    new_session: Callable[..., dict[str, Any]],
) -> None:
    session_id, bidder = new_session()["session_id"], client_of(member())
    with pytest.raises(Refused, match="start at 100") as low:
        bidder.place_bid(session_id, 99)
    assert (low.value.status, low.value.code) == (422, "price_below_upset")
    assert low.value.problem.upset_price == 100
    with pytest.raises(Refused) as fine:
        bidder.place_bid(session_id, "100.001")
    assert fine.value.problem.errors == {"price": ["Must have at most 2 decimals."]}
    with pytest.raises(Refused) as nobody:
        bidder.close_session(session_id)
    assert nobody.value.code == "admin_required"


def test_an_answer_of_a_proxy_is_a_refusal_without_a_code() -> None:
    answer = Response("<h1>Forbidden</h1>", HTTPStatus.FORBIDDEN)
    with answering(answer) as (client, _), pytest.raises(Refused, match="FORBIDDEN") as refused:
        client.session(uuid4())
    assert (refused.value.status, refused.value.code) == (403, "")


def test_a_service_that_is_not_there_is_unreachable() -> None:
    url = f"http://127.0.0.1:{free_port()}"
    with Flashbid(url, patience_seconds=0) as client, pytest.raises(Unreachable):
        client.session(uuid4())


def test_what_is_no_answer_of_the_api_is_unreachable() -> None:
    with answering(Response("<h1>Welcome</h1>")) as (client, _), pytest.raises(Unreachable):
        client.session(uuid4())


# Lists, and the rest of the API


def test_lists_are_read_to_their_end(
    monkeypatch: pytest.MonkeyPatch,
    client_of: Callable[..., Flashbid],
    member: Callable[..., Client],
    new_session: Callable[..., dict[str, Any]],
) -> None:
    monkeypatch.setattr("flashbid_client.client._PAGE_SIZE", 2)
    session_id, bidder = new_session()["session_id"], client_of(member())
    for price in (110, 120, 130, 140, 150):
        bidder.place_bid(session_id, price)
    # They are listed once they are drained.
    assert wait_until(lambda: len(list(bidder.bids())) == 5, DRAINED_SECONDS)
    assert [bid.price for bid in bidder.bids(session_id)] == [150, 140, 130, 120, 110]
    assert list(bidder.notifications(unread=True)) == list(bidder.offers()) == []


def test_any_operation_can_be_called(client_of: Callable[..., Flashbid], admin: Client) -> None:
    shop = client_of(admin)
    sale = shop.create_session(SALE)
    path = f"/api/admin/sessions/{sale.session_id}"
    renamed = shop.call(
        "PATCH", path, type(sale), body=SessionChanges(version=sale.version, name="Lantern")
    )
    assert renamed.name == "Lantern"


def test_an_item_is_sold(
    client_of: Callable[..., Flashbid], admin: Client, member: Callable[..., Client]
) -> None:
    shop, bidder = client_of(admin), client_of(member())
    sale = shop.create_session(SALE)
    bidder.place_bid(sale.session_id, 120)
    assert bidder.board(sale.session_id).leaderboard[0].price == 120
    shop.close_session(sale.session_id)
    assert shop.wait_for_results(sale.session_id).final_price == 120
    [offer] = shop.session_offers(sale.session_id)
    assert shop.mark_paid(sale.session_id, offer.offer_id).state == "paid"
    assert [own.state for own in bidder.offers()] == ["paid"]
    bidder.logout()
    with pytest.raises(Refused, match="token"):
        bidder.account()


# Watching


def test_a_watcher_that_is_cut_off_sees_the_end(
    way: LossyWay,
    client_of: Callable[..., Flashbid],
    admin: Client,
    member: Callable[..., Client],
    new_session: Callable[..., dict[str, Any]],
) -> None:
    session_id = new_session(inventory=1)["session_id"]
    watched = client_of(member(), port=way.port).watch(session_id)
    first = next(watched)
    assert isinstance(first, Board)
    assert first.leaderboard == []
    way.cut()
    bidder = member()
    assert bidder.bid(session_id, 150).status == 200
    admin.put(f"/api/admin/sessions/{session_id}/close")
    *boards, last = watched
    assert all(isinstance(board, Board) for board in boards)
    assert isinstance(last, FinalResults)
    assert [winner.user_id for winner in last.winners] == [bidder.user_id]


def test_watching_ends_with_a_cancelled_session(
    client_of: Callable[..., Flashbid],
    admin: Client,
    new_session: Callable[..., dict[str, Any]],
) -> None:
    session_id = new_session()["session_id"]
    admin.put(f"/api/admin/sessions/{session_id}/cancel", reason="Damaged.")
    *_, last = client_of(admin).watch(session_id)
    assert (last.status, last.provisional) == ("cancelled", False)


def test_an_unknown_session_cannot_be_watched(
    client_of: Callable[..., Flashbid], admin: Client
) -> None:
    with pytest.raises(Refused) as refused:
        next(client_of(admin).watch(uuid4()))
    assert refused.value.code == "session_not_found"
