"""Everybody is told once, although the worker dies in the middle and the mail server is dead."""

import socket
from base64 import b64encode
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any
from uuid import UUID

import pytest
from aiosmtpd.controller import Controller
from sqlalchemy import text

from core.bootstrap import Services
from dev.children import free_port
from dev.stack import Stack, wait_until
from tests.support.http.client import Client, final_results

BIDDERS = 60_000
# Of what comes by itself, on a machine however busy.
TIMEOUT_SECONDS = 120
_MEMBERS = """
    INSERT INTO users (id, username, email, password_hash)
    SELECT md5(:prefix || n)::uuid, :prefix || n, :prefix || n || '@example.com', '-'
      FROM generate_series(1, :bidders) n
"""
_BIDS = """
    INSERT INTO bids (session_id, sequence, user_id, price, score, response_time, weight,
                      accepted_at)
    SELECT :session_id, n, md5(:prefix || n)::uuid, 100, n, 1, 1, now()
      FROM generate_series(1, :bidders) n
"""
_OFFSET = "UPDATE bid_log_offsets SET persisted_sequence = :bidders WHERE session_id = :session_id"


@pytest.fixture
def big_session(
    services: Services, new_session: Callable[..., dict[str, Any]]
) -> Callable[[int], str]:
    """A session with many bidders, made in PostgreSQL: Redis loads it from there."""

    def make(inventory: int) -> str:
        session_id: str = new_session(inventory=inventory)["session_id"]
        names = {"session_id": UUID(session_id), "prefix": session_id[:13], "bidders": BIDDERS}
        with services.database.begin() as db:
            for statement in (_MEMBERS, _BIDS, _OFFSET):
                db.execute(text(statement), names)
        services.redis.delete(*services.redis.keys(f"*{session_id}*"))
        return session_id

    return make


@pytest.fixture
def told(services: Services) -> Callable[[str], tuple[int, int]]:
    """How many notifications a session has, and for how many members."""

    def count(session_id: str) -> tuple[int, int]:
        with services.engine.connect() as connection:
            row = connection.execute(
                text(
                    "SELECT count(*), count(DISTINCT user_id) FROM notifications"
                    " WHERE session_id = :id"
                ),
                {"id": UUID(session_id)},
            ).one()
            return row[0], row[1]

    return count


def test_everybody_is_told_once_although_the_worker_is_killed_in_the_middle(
    stack: Stack,
    client: Client,
    admin: Client,
    big_session: Callable[[int], str],
    told: Callable[[str], tuple[int, int]],
) -> None:
    session_id = big_session(50_000)
    assert admin.put(f"/api/admin/sessions/{session_id}/close").status == 202
    assert wait_until(lambda: told(session_id)[0] > 0, TIMEOUT_SECONDS)

    stack["helper"].kill()

    before, _ = told(session_id)
    print(f"{before} of {BIDDERS} were told when the worker was killed")  # noqa: T201
    assert 0 < before < BIDDERS
    stack.start()
    assert wait_until(lambda: told(session_id)[0] >= BIDDERS, TIMEOUT_SECONDS)
    assert told(session_id) == (BIDDERS, BIDDERS)


@pytest.fixture
def silent_port() -> Iterator[int]:
    """Takes connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        yield silent.getsockname()[1]


class Heard:
    """A mail server and a shop's system in good health, and how much they have heard."""

    def __init__(self) -> None:
        self.mails = self.webhooks = 0

    async def handle_DATA(self, *_: Any) -> str:  # noqa: N802 - aiosmtpd's name
        self.mails += 1
        return "250 OK"


@pytest.fixture
def heard() -> Heard:
    return Heard()


@pytest.fixture
def mail_port(heard: Heard) -> Iterator[int]:
    controller = Controller(heard, hostname="127.0.0.1", port=free_port())
    controller.start()
    yield controller.port
    controller.stop()


@pytest.fixture
def shop_port(heard: Heard) -> Iterator[int]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            heard.webhooks += 1
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    yield server.server_port
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def channels(mail_port: int, shop_port: int, silent_port: int, hanging: str) -> dict[str, str]:
    """Settings with both channels on, one of which leads to the silent server."""
    mail = silent_port if hanging == "email" else mail_port
    webhook = silent_port if hanging == "webhook" else shop_port
    return {
        "SMTP_HOST": "127.0.0.1",
        "SMTP_PORT": str(mail),
        "SMTP_FROM": "sales@shop.example",
        "SMTP_TLS": "none",
        "WEBHOOK_URL": f"http://127.0.0.1:{webhook}/hook",
        "WEBHOOK_SECRET": f"whsec_{b64encode(bytes(32)).decode()}",
    }


@pytest.fixture
def sell(
    client: Client,
    admin: Client,
    member: Callable[..., Client],
    new_session: Callable[..., dict[str, Any]],
) -> Callable[[int], Client]:
    """Sells one item at a price, to the end; its buyer."""

    def to_the_end(price: int) -> Client:
        session_id = new_session(inventory=1)["session_id"]
        buyer = member()
        assert buyer.bid(session_id, price).status == 200
        admin.put(f"/api/admin/sessions/{session_id}/close")
        assert final_results(client, session_id)["final_price"] == price
        return buyer

    return to_the_end


@pytest.mark.usefixtures("empty_shop")
@pytest.mark.parametrize("hanging", ["email", "webhook"])
def test_a_channel_that_hangs_delays_neither_the_close_nor_the_telling_nor_the_other(
    stack: Stack,
    admin: Client,
    sell: Callable[[int], Client],
    heard: Heard,
    channels: dict[str, str],
    hanging: str,
) -> None:
    with stack.with_settings(("helper", "mailer", "notifier", "web"), channels):
        # Two sessions: the second is closed while the first one's message hangs.
        for number, price in enumerate((150, 160), start=1):
            buyer = sell(price)
            assert wait_until(
                lambda b=buyer: len(b.get("/api/notifications").json) == 1, TIMEOUT_SECONDS
            )
            assert wait_until(lambda n=number: _delivered(heard, hanging) == n, TIMEOUT_SECONDS)
        states = {state["channel"]: state for state in admin.get("/api/admin/channels").json}
        assert (states[hanging]["is_on"], states[hanging]["given_up"]) == (True, 0)
        assert states[hanging]["waiting"] >= 2


def _delivered(heard: Heard, hanging: str) -> int:
    """By the channel that is well."""
    return heard.webhooks if hanging == "email" else heard.mails


def test_a_channels_process_says_that_it_is_off_and_what_would_switch_it_on(stack: Stack) -> None:
    for process, channel, setting in (
        ("mailer", "email", "SMTP_HOST"),
        ("notifier", "webhook", "WEBHOOK_URL"),
    ):
        words = ("channel_off", f'"{channel}"', setting)
        assert wait_until(lambda p=process, w=words: stack.count_log_lines(p, *w) >= 1, 30)
        for other in {"helper", "mailer", "notifier"} - {process}:
            assert stack.count_log_lines(other, *words) == 0


# News while sessions run


def has_looked(services: Services, session_id: str) -> bool:
    """Whether a look has seen the session's first bid."""
    with services.engine.connect() as connection:
        seen = connection.scalar(
            text("SELECT sequence FROM winners_marks WHERE session_id = :id"),
            {"id": UUID(session_id)},
        )
    return seen == 1


def news(member: Client) -> list[str]:
    return [notice["kind"] for notice in member.get("/api/notifications").json]


def test_news_comes_by_itself(
    services: Services,
    member: Callable[..., Client],
    new_session: Callable[..., dict[str, Any]],
) -> None:
    ada, bob = member(), member()
    soon = datetime.now(UTC) + timedelta(minutes=4)
    coming = new_session(start_time=soon.isoformat())["session_id"]
    running = new_session(inventory=1, alpha=1, beta=0, gamma=0)["session_id"]
    assert ada.put(f"/api/sessions/{coming}/reminder").status == 204
    assert ada.bid(running, 150).status == 200
    assert wait_until(lambda: has_looked(services, running), TIMEOUT_SECONDS)
    assert bob.bid(running, 500).status == 200
    assert wait_until(lambda: sorted(news(ada)) == ["outbid", "starting"], TIMEOUT_SECONDS)
    assert news(bob) == []
