"""More requests than a web process can serve: refused at once, and what is served is right."""

import http.client
import json
import time
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from contextlib import closing, contextmanager
from email.message import Message
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from core.bootstrap import Services
from core.telemetry.metric_files import PublishedMetrics
from tests.api.conftest import CheckedClient
from tests.support.factories import Shop
from tests.support.http.client import scrape
from tests.support.http.serving import serving
from tests.support.locks import wait_for_locks
from web.front.overload import RETRY_AFTER_MAX_SECONDS

THREADS = 2
CROWD = 30
# Long against all delays of a busy machine.
MAX_WAIT_MS = 2000
GIVE_UP_SECONDS = 30
SHOP = "https://shop.example"


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


def refusal_to_page(port: int, origin: str) -> Message:
    """The headers of a refused request of a page of this origin."""
    with closing(Connection("127.0.0.1", port, timeout=30)) as connection:
        connection.request("GET", "/api/sessions", headers={"Origin": origin})
        answer = connection.getresponse()
        assert (answer.status, json.loads(answer.read())["code"]) == (503, "overloaded")
        assert 1 <= int(answer.headers["Retry-After"]) <= RETRY_AFTER_MAX_SECONDS
        return answer.headers


def token_of(client: CheckedClient) -> str:
    return str(client.environ_base["HTTP_AUTHORIZATION"]).removeprefix("Bearer ")


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
        status, problem, _ = ask_over(kept, "GET", path)
        assert (status, problem["code"]) == (503, "overloaded")
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


@contextmanager
def sessions_locked(shop: Shop) -> Iterator[None]:
    """Requests that read the table wait meanwhile."""
    with shop.services.engine.connect() as lock:
        lock.execute(text("LOCK TABLE sessions IN ACCESS EXCLUSIVE MODE"))
        yield
        lock.rollback()


@pytest.mark.parametrize("max_wait_ms", [MAX_WAIT_MS, 0])
def test_a_crowd_is_refused_in_part_and_the_rest_is_served(
    shop: Shop, admin: CheckedClient, member: CheckedClient, tmp_path: Path, max_wait_ms: int
) -> None:
    """Without the bound, its control, nobody is refused and all wait for as long as it takes."""
    settings = {"WEB_THREADS": str(THREADS), "MAX_QUEUE_WAIT_MS": str(max_wait_ms)}
    bid = {"session_id": str(shop.session().session_id), "price": 150}
    with (
        serving(**settings, METRICS_FOLDER=str(tmp_path)) as port,
        ThreadPoolExecutor(CROWD) as pool,
    ):
        with sessions_locked(shop):
            crowd = [pool.submit(ask, port, "GET", "/api/sessions") for _ in range(CROWD)]
            wait_for_locks(shop, THREADS)
            # Those who look after the service are let in, and bids need no thread.
            assert ask(port, "POST", "/api/bid", token_of(member), bid)[0] == 200
            assert ask(port, "GET", "/health")[0] == 200
            assert ask(port, "GET", "/ready")[0] == 200
            assert ask(port, "GET", "/api/admin/products", token_of(admin))[0] == 200
            assert "flashbid_bids_total" in scrape(port)
            if max_wait_ms:
                # Whoever has no thread is told; the others hold theirs until the lock is gone.
                told, waiting = wait(crowd, timeout=GIVE_UP_SECONDS, return_when=FIRST_COMPLETED)
                while len(waiting) > THREADS:
                    more, waiting = wait(waiting, GIVE_UP_SECONDS, FIRST_COMPLETED)
                    told |= more
                codes = {(future.result()[0], future.result()[1]["code"]) for future in told}
                assert codes == {(503, "overloaded")}
            else:
                time.sleep(MAX_WAIT_MS / 1000)
                assert not any(future.done() for future in crowd)
        statuses = [future.result()[0] for future in crowd]
    refused = CROWD - THREADS if max_wait_ms else 0
    assert sorted(statuses) == [200] * (CROWD - refused) + [503] * refused
    assert refused_early(tmp_path) == refused, "each refusal is counted, once"


def refused_early(folder: Path) -> float:
    """What the stopped server's processes had counted in all."""
    return sum(
        sample.value
        for metric in PublishedMetrics(str(folder)).collect()
        for sample in metric.samples
        if sample.name == "flashbid_refused_early_total"
    )
