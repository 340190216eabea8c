"""Everybody is told once, although the worker dies in the middle and the mail server is dead."""

import socket
from collections.abc import Callable, Iterator
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text

from core.bootstrap import Services
from dev.stack import Stack, wait_until
from tests.system.client import Client, final_results

BIDDERS = 60_000
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
    assert wait_until(lambda: told(session_id)[0] > 0, 30)

    stack["helper"].kill()

    before, _ = told(session_id)
    print(f"{before} of {BIDDERS} were told when the worker was killed")  # noqa: T201
    assert 0 < before < BIDDERS
    stack.start()
    assert wait_until(lambda: told(session_id)[0] >= BIDDERS, 60)
    assert told(session_id) == (BIDDERS, BIDDERS)


@pytest.fixture
def silent_mail_server() -> Iterator[int]:
    """Takes connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        yield silent.getsockname()[1]


def test_a_dead_mail_server_delays_neither_the_close_nor_the_telling(
    stack: Stack,
    client: Client,
    admin: Client,
    member: Callable[..., Client],
    new_session: Callable[..., dict[str, Any]],
    silent_mail_server: int,
) -> None:
    mail = {"SMTP_HOST": "127.0.0.1", "SMTP_PORT": str(silent_mail_server)}
    mail |= {"SMTP_FROM": "sales@shop.example", "SMTP_TLS": "none"}
    names = ("helper", "notifier", "web")
    with stack.changed(names, mail):
        # Two sessions: the second is closed while the first one's e-mail hangs.
        for price in (150, 160):
            session_id = new_session(inventory=1)["session_id"]
            bidder = member()
            assert bidder.bid(session_id, price).status == 200
            admin.put(f"/api/admin/sessions/{session_id}/close")
            assert final_results(client, session_id)["final_price"] == price
            assert wait_until(lambda b=bidder: len(b.get("/api/notifications").json) == 1, 15)
        [email, _] = admin.get("/api/admin/channels").json
        assert (email["is_on"], email["given_up"]) == (True, 0)
        assert email["waiting"] >= 2
