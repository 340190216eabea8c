"""One stack for all tests of this folder; each test finds all its processes running."""

from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack, closing
from typing import Any
from uuid import UUID, uuid4

import pytest
from flask import Flask
from flask_jwt_extended import create_access_token
from sqlalchemy import insert, text
from sqlalchemy.exc import OperationalError

from core.bootstrap import Services
from core.postgres.models import Base, User
from dev.stack import Stack, wait_until
from tests.support import forked
from tests.support.broker import Broker
from tests.support.crowd import Crowd, Row
from tests.support.http.client import Client
from tests.support.leaks import assert_stack_quiet

FAILED = pytest.StashKey[bool]()
CROWD = 16


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    item.stash[FAILED] = item.stash.get(FAILED, False) or report.failed
    return report


@pytest.fixture(scope="package")
def whole_stack(
    services: Services, broker: Broker, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Stack]:
    _empty(services)
    broker.clear()
    stack = Stack(tmp_path_factory.mktemp("processes"), launch=forked.launch)
    for name, process in stack.processes.items():
        if name != "web":
            process.environ = {**process.environ, "JWT_SECRET": ""}
    try:
        yield stack
    finally:
        stack.kill()
    assert_stack_quiet(stack)


@pytest.fixture
def stack(whole_stack: Stack, request: pytest.FixtureRequest) -> Iterator[Stack]:
    whole_stack.start()
    yield whole_stack
    if request.node.stash.get(FAILED, False):
        print(whole_stack.log_tails())  # noqa: T201 - shown with the failure


@pytest.fixture
def empty_shop(services: Services, stack: Stack) -> None:
    """No accounts and no sessions, while the processes run."""
    assert wait_until(lambda: _empty(services), timeout_seconds=60)


@pytest.fixture
def connect(stack: Stack) -> Iterator[Callable[..., Client]]:
    """Makes callers, with a token or without."""
    with ExitStack() as open_clients:
        yield lambda *whose: open_clients.enter_context(closing(Client(stack.port, *whose)))


@pytest.fixture
def client(connect: Callable[..., Client]) -> Client:
    """A caller who is not logged in."""
    return connect()


@pytest.fixture
def member(connect: Callable[..., Client], app: Flask, services: Services) -> Callable[..., Client]:
    """Makes members with a token, without the cost of a password."""

    def make(*, is_admin: bool = False) -> Client:
        user_id, username = uuid4(), f"member-{uuid4().hex}"
        account = {"username": username, "email": f"{username}@example.com", "password_hash": "-"}
        with services.database.begin() as db:
            db.execute(insert(User).values(id=user_id, is_admin=is_admin, **account))
        with app.app_context():
            token = create_access_token(str(user_id), additional_claims={"username": username})
        return connect(token, str(user_id))

    return make


@pytest.fixture
def admin(member: Callable[..., Client]) -> Client:
    return member(is_admin=True)


@pytest.fixture
def new_session(admin: Client) -> Callable[..., dict[str, Any]]:
    """Opens sessions over HTTP."""

    def make(**terms: Any) -> dict[str, Any]:
        defaults = {"name": "Item", "upset_price": 100, "inventory": 3}
        answer = admin.post("/api/admin/sessions/combined", **defaults | terms)
        assert answer.status == 201, answer
        return answer.json

    return make


@pytest.fixture
def crowd(member: Callable[..., Client], new_session: Callable[..., dict[str, Any]]) -> Crowd:
    """Members about to bid in a session of their own."""
    return Crowd([member() for _ in range(CROWD)], new_session()["session_id"])


@pytest.fixture
def stored_bids(services: Services) -> Callable[[str], dict[int, Row]]:
    """Reads `bids` of a session: sequence to user, price and score."""

    def read(session_id: str) -> dict[int, Row]:
        with services.engine.connect() as connection:
            rows = connection.execute(
                text("SELECT sequence, user_id, price, score FROM bids WHERE session_id = :id"),
                {"id": UUID(session_id)},
            )
            return {row.sequence: (str(row.user_id), row.price, row.score) for row in rows}

    return read


def _empty(services: Services) -> bool:
    """Whether the tables could be emptied; a worker at work may stand in the way."""
    tables = ", ".join(table.name for table in Base.metadata.sorted_tables)
    try:
        with services.engine.begin() as connection:
            connection.execute(text("SET LOCAL lock_timeout = '1s'"))
            connection.execute(text(f"TRUNCATE {tables}"))
    except OperationalError:
        return False
    services.redis.flushdb()
    return True
