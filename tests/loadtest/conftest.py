"""The application behind a real HTTP server, and sales with their ledgers."""

import json
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from threading import Thread
from typing import Any, Self

import pytest
from flask import Flask
from werkzeug.serving import WSGIRequestHandler, make_server

from core.members.accounts import Account
from core.orders.prices import write_prices
from core.postgres.models import BiddingSession
from core.sessions.sessions import SessionView
from loadtest.__main__ import main
from loadtest.ledger import ledger
from loadtest.ledger.ledger import Attempt, Ledger, Timing
from loadtest.sale.api import Api
from tests.support.factories import Shop
from web.guards import tokens

Wsgi = Callable[..., Any]


class Quiet(WSGIRequestHandler):
    """Keeps no log of requests, and keeps connections, as the real server does."""

    protocol_version = "HTTP/1.1"

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        pass


class Server:
    """Serves the application on a free port of this machine. `wsgi` may be exchanged."""

    def __init__(self, app: Flask) -> None:
        self.wsgi: Wsgi = app
        self._server = make_server(
            "127.0.0.1", 0, self._serve, threaded=True, request_handler=Quiet
        )
        self.host = f"http://127.0.0.1:{self._server.port}"
        self._thread = Thread(target=self._server.serve_forever, args=[0.02])

    def _serve(self, environ: Any, start_response: Any) -> Any:
        return self.wsgi(environ, start_response)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@pytest.fixture
def server(app: Flask) -> Iterator[Server]:
    with Server(app) as server:
        yield server


@dataclass(frozen=True)
class Sold:
    """A closed sale and its ledger."""

    shop: Shop
    host: str
    session: SessionView
    ledger: Path
    attempts: list[Attempt]

    def verify(self) -> int:
        """The exit code of the command."""
        session_id = str(self.session.session_id)
        return main(["verify", str(self.ledger), "--session", session_id, "--host", self.host])

    def sql(self, statement: str, **parameters: Any) -> None:
        """Tamper with PostgreSQL."""
        with self.shop.services.engine.begin() as connection:
            connection.exec_driver_sql(
                statement, {"session": str(self.session.session_id)} | parameters
            )

    def reprice(self, pricing: str) -> None:
        """Price the winners and all who may succeed them by other terms."""
        self.sql("UPDATE rankings SET price_to_pay = NULL WHERE session_id = %(session)s")
        with self.shop.services.database.begin() as db:
            session = db.get_one(BiddingSession, self.session.session_id)
            session.pricing = pricing
            write_prices(db, session, range(1, 7))

    def rewrite(self, attempts: list[Attempt]) -> None:
        """Tamper with the ledger."""
        self.ledger.unlink()
        write_ledger(self.ledger, self.session, attempts)


def write_members(accounts: Iterable[Account], path: Path) -> Path:
    with path.open("w") as file:
        for account in accounts:
            token = tokens.issue(account)["token"]
            file.write(json.dumps({"user_id": str(account.user_id), "token": token}) + "\n")
    return path


def write_ledger(path: Path, session: SessionView, attempts: list[Attempt]) -> None:
    with Ledger(path, mode="closed", session_id=str(session.session_id)) as book:
        for attempt in attempts:
            book.attempt(attempt)


def place(member: Api, account: Account, session: SessionView, price: str) -> Attempt:
    """Bid over HTTP; the attempt as a generator would keep it."""
    sent_at = time.time()
    body = {"session_id": str(session.session_id), "price": float(price)}
    answer = member.call("POST", "/api/bid", body)
    timing = Timing(sent_at, sent_at, time.time())
    content = json.dumps(answer).encode()
    return ledger.answered(str(account.user_id), Decimal(price), timing, 200, content)


@pytest.fixture
def sold(app: Flask, shop: Shop, server: Server, tmp_path: Path) -> Sold:
    """Six members, two items; some raise, one repeats a bid. The last bid is number 9."""
    names = [f"member{number}" for number in range(1, 7)]
    accounts = {name: shop.account(name) for name in names}
    with app.app_context():
        members = {
            name: Api(server.host, tokens.issue(account)["token"])
            for name, account in accounts.items()
        }
    session = shop.session(inventory=2)
    bids = [(name, f"{100 + 10 * number}.10") for number, name in enumerate(names)]
    bids += [("member1", "180.55"), ("member2", "175.00"), ("member2", "175.00")]
    bids += [("member3", "131.01")]
    attempts = [place(members[name], accounts[name], session, price) for name, price in bids]
    shop.close(session)
    path = tmp_path / "ledger-test.jsonl"
    write_ledger(path, session, attempts)
    return Sold(shop, server.host, session, path, attempts)
