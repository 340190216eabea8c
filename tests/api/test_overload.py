"""More requests than a web process can serve: refused at once, and what is served is right."""

import http.client
import json
import selectors
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import dataclass
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any, cast

import pytest
from flask import Flask
from sqlalchemy import text

from core import keys
from core.bootstrap import Services
from core.publishing import PublishedMetrics
from tests.api.conftest import CheckedClient
from tests.api.serving import serving
from tests.factories import Shop
from web import tokens
from web.bounded_worker import REST_SECONDS

THREADS = 2
# Long against all delays of a busy machine.
MAX_WAIT_MS = 2000
GIVE_UP_SECONDS = 30
SHOP = "https://shop.example"
CLIENTS = 600
WAVES = 4
# A fraction of what so many clients wait for one process on the fastest machine.
CROWD_MAX_WAIT_MS = 10


class Connection(http.client.HTTPConnection):
    """Sends a request in one piece, as browsers do: one whose body is still on its way when it
    is refused costs the connection.
    """

    def request(self, *args: Any, **kwargs: Any) -> None:
        """Send a request."""
        self._pieces: list[bytes] = []
        super().request(*args, **kwargs)
        super().send(b"".join(self._pieces))

    def send(self, data: Any) -> None:
        """Keep a piece until the others are there."""
        self._pieces.append(data)


def ask(
    port: int, method: str, path: str, token: str = "", body: Any = None
) -> tuple[int, Any, float]:
    """Status, document and seconds of an answer, over a connection of its own."""
    with closing(Connection("127.0.0.1", port, timeout=30)) as connection:
        return ask_over(connection, method, path, token, body)


def ask_over(
    connection: Connection, method: str, path: str, token: str = "", body: Any = None
) -> tuple[int, Any, float]:
    started = time.monotonic()
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {token}"}
    connection.request(method, path, json.dumps(body) if body else None, headers)
    answer = connection.getresponse()
    document = json.loads(answer.read())
    return answer.status, document, time.monotonic() - started


def refusal_to_page(port: int, origin: str) -> dict[str, str]:
    """The headers of a refused request of a page of this origin."""
    with closing(Connection("127.0.0.1", port, timeout=30)) as connection:
        connection.request("GET", "/api/sessions", headers={"Origin": origin})
        answer = connection.getresponse()
        assert (answer.status, json.loads(answer.read())["code"]) == (503, "overloaded")
        return dict(answer.getheaders())


def token_of(client: CheckedClient) -> str:
    return str(client.environ_base["HTTP_AUTHORIZATION"]).removeprefix("Bearer ")


def wait_for_locks(shop: Shop, count: int) -> None:
    """Until so many transactions wait for one."""
    give_up_at = time.monotonic() + GIVE_UP_SECONDS
    while shop.rows("SELECT count(*) FROM pg_locks WHERE NOT granted") != [(count,)]:
        assert time.monotonic() < give_up_at
        time.sleep(0.02)


@pytest.fixture(scope="module")
def busy_port(services: Services) -> Iterator[int]:
    settings = {"WEB_THREADS": str(THREADS), "MAX_QUEUE_WAIT_MS": str(MAX_WAIT_MS)}
    with serving(**settings, CORS_ORIGINS=SHOP) as port:
        yield port


def test_others_are_refused_at_once_and_bids_go_on_while_all_threads_are_stuck(
    busy_port: int, shop: Shop, admin: CheckedClient, member: CheckedClient
) -> None:
    bid = {"session_id": str(shop.session().session_id), "price": 150}
    token = token_of(member)
    with (
        closing(Connection("127.0.0.1", busy_port, timeout=30)) as kept,
        ThreadPoolExecutor(THREADS + 2) as pool,
        shop.services.engine.connect() as lock,
    ):
        assert ask_over(kept, "POST", "/api/bid", token, bid)[0] == 200
        lock.execute(text("LOCK TABLE sessions IN ACCESS EXCLUSIVE MODE"))
        path = "/api/sessions"
        stuck = [pool.submit(ask, busy_port, "GET", path) for _ in range(THREADS)]
        wait_for_locks(shop, THREADS)
        waiting = [pool.submit(ask, busy_port, "GET", path)]
        time.sleep(MAX_WAIT_MS * 0.4 / 1000)
        # Still waits when the first is told, so that it matters little when the bid comes.
        waiting.append(pool.submit(ask, busy_port, "GET", path))
        time.sleep(MAX_WAIT_MS * 0.4 / 1000)

        own_socket = kept.sock
        status, problem, seconds = ask_over(kept, "GET", path)
        assert (status, problem["code"]) == (503, "overloaded")
        assert seconds < MAX_WAIT_MS / 1000
        assert ask(busy_port, "POST", "/api/bid", token, {**bid, "price": 160})[0] == 200
        let_in = refusal_to_page(busy_port, SHOP)
        assert let_in["Access-Control-Allow-Origin"] == SHOP
        assert "Retry-After" in let_in["Access-Control-Expose-Headers"]
        shut_out = refusal_to_page(busy_port, "https://other.example")
        assert "Access-Control-Allow-Origin" not in shut_out
        assert ask(busy_port, "GET", "/health")[0] == 200
        assert ask(busy_port, "GET", "/api/admin/products", token_of(admin))[0] == 200
        # What had come in before was told, too, when it had waited too long.
        assert [future.result()[0] for future in waiting] == [503, 503]

        lock.rollback()
        assert [future.result()[0] for future in stuck] == [200] * THREADS
        assert ask_over(kept, "POST", "/api/bid", token, {**bid, "price": 170})[0] == 200
        assert kept.sock is own_socket, "a refusal costs no connection"


def test_silent_connections_hold_no_thread(
    busy_port: int, shop: Shop, member: CheckedClient
) -> None:
    silent = [Connection("127.0.0.1", busy_port) for _ in range(THREADS * 5)]
    try:
        for connection in silent:
            connection.connect()
        bid = {"session_id": str(shop.session().session_id), "price": 150}
        status, _, seconds = ask(busy_port, "POST", "/api/bid", token_of(member), bid)
        assert status == 200
        assert seconds < 15, "gunicorn by itself lets a thread wait five seconds for each"
    finally:
        for connection in silent:
            connection.close()


@dataclass
class Crowd:
    """What the members of a crowd were answered. Waits are in seconds."""

    sequences: list[int]
    accepted_waits: list[float]
    refusals: list[dict[str, Any]]
    others: list[tuple[int, bytes]]


def crowd_bids(port: int, session_id: str, tokens_: list[str]) -> Crowd:
    """All members bid at once, again and again, a cent more each time; those who were refused
    no later than the others.
    """
    crowd = Crowd([], [], [], [])
    with ExitStack() as opened:
        members = [
            (opened.enter_context(socket.create_connection(("127.0.0.1", port), 30)), token)
            for token in tokens_
        ]
        for wave in range(WAVES):
            body = f'{{"session_id": "{session_id}", "price": {(15_000 + wave) / 100}}}'
            for member, token in members:
                member.sendall(bid_of(body, token))
            _note_answers(crowd, [member for member, _ in members], time.monotonic())
            if wave == 0:
                # Taking up the connections and verifying the tokens took most of it.
                crowd.accepted_waits.clear()
            time.sleep(REST_SECONDS * 2)
    return crowd


def bid_of(body: str, token: str) -> bytes:
    return (
        f"POST /api/bid HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        f"Authorization: Bearer {token}\r\nContent-Length: {len(body)}\r\n\r\n{body}"
    ).encode()


def _note_answers(crowd: Crowd, members: list[socket.socket], sent_at: float) -> None:
    """One answer to each, as they come."""
    with selectors.DefaultSelector() as waiting:
        for member in members:
            waiting.register(member, selectors.EVENT_READ)
        while waiting.get_map():
            for key, _ in waiting.select():
                # An answer so short comes in one piece.
                head, _, answer = (
                    cast(socket.socket, key.fileobj).recv(65536).partition(b"\r\n\r\n")
                )
                _note(crowd, head, answer, time.monotonic() - sent_at)
                waiting.unregister(key.fileobj)


def _note(crowd: Crowd, head: bytes, answer: bytes, seconds: float) -> None:
    status = int(head.split()[1])
    if status == 200:
        crowd.sequences.append(json.loads(answer)["sequence"])
        crowd.accepted_waits.append(seconds)
    elif status == 503 and b"\r\nRetry-After: " in head:
        crowd.refusals.append(json.loads(answer))
    else:
        crowd.others.append((status, answer))


def flood(shop: Shop, members: list[str], *, max_wait_ms: int) -> Crowd:
    """Let a crowd bid at one process; every acknowledged bid must be persisted exactly once."""
    session = shop.session()
    settings = {"BID_RATE_PER_SECOND": "0"}
    with TemporaryDirectory() as folder:
        settings |= {"MAX_QUEUE_WAIT_MS": str(max_wait_ms), "METRICS_FOLDER": folder}
        with serving(**settings) as port:
            crowd = crowd_bids(port, str(session.session_id), members)
        assert refused_early(folder) == len(crowd.refusals), "each refusal is counted, once"
    shop.drain(session)
    rows = shop.rows("SELECT sequence FROM bids WHERE session_id = :id", id=session.session_id)
    persisted = [sequence for (sequence,) in rows]
    assert sorted(crowd.sequences) == sorted(persisted), "acknowledged and persisted, once each"
    assert crowd.others == []
    return crowd


def refused_early(folder: str) -> float:
    """What the stopped server's processes had counted in all."""
    return sum(
        sample.value
        for metric in PublishedMetrics(folder).collect()
        for sample in metric.samples
        if sample.name == "flashbid_refused_early_total"
    )


def print_waits(name: str, crowd: Crowd) -> None:
    waits = sorted(crowd.accepted_waits)
    p95 = waits[int(len(waits) * 0.95)] * 1000
    print(  # noqa: T201
        f"{name}: {len(waits)} accepted, median {median(waits) * 1000:.0f} ms, "
        f"p95 {p95:.0f} ms; {len(crowd.refusals)} refused"
    )


def test_a_crowd_is_refused_in_part_and_the_rest_is_served_in_time(app: Flask, shop: Shop) -> None:
    with app.app_context():
        accounts = list(shop.services.accounts.seed(CLIENTS))
        members = [tokens.issue(account)["token"] for account in accounts]
    # Else the first bids would wait for PostgreSQL, too.
    shop.services.revocations.load()
    for account in accounts:
        shop.services.redis.set(keys.user_weight(account.user_id), "1.0")
    crowd = flood(shop, members, max_wait_ms=CROWD_MAX_WAIT_MS)
    assert crowd.sequences
    assert {refusal["code"] for refusal in crowd.refusals} == {"overloaded"}
    without_bound = flood(shop, members, max_wait_ms=0)
    print_waits("bounded", crowd)
    print_waits("without", without_bound)
    # The control: without the bound nobody is refused, and everybody waits for everybody.
    assert without_bound.refusals == []
    assert median(crowd.accepted_waits) < median(without_bound.accepted_waits)
