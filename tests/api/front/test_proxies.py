"""Whose address counts, through a real gunicorn: a forged header never does."""

from collections.abc import Callable, Iterator
from contextlib import closing

import pytest

from core.bootstrap import Services
from tests.api.front.test_gunicorn import JSON_TYPE, Connection, ask
from tests.support.http.serving import serving

Ports = dict[int, int]
Statuses = Callable[..., list[int]]
BODY = b'{"username": "nobody", "password": "a wrong password"}'


@pytest.fixture(scope="module")
def ports(services: Services) -> Iterator[Ports]:
    """Servers behind no proxy, and behind two."""
    limits = {"LOGINS_PER_MINUTE": "2", "TRIES_PER_MINUTE": "0"}
    with (
        serving(**limits) as alone,
        serving(**limits, TRUSTED_PROXIES="2") as behind_two,
    ):
        yield {0: alone, 2: behind_two}


@pytest.fixture
def log_in(ports: Ports, clean: None) -> Statuses:
    """The statuses of wrong logins with these forwarding headers, on one connection."""

    def statuses(trusted: int, *forwarded: str, header: str = "X-Forwarded-For") -> list[int]:
        with closing(Connection("127.0.0.1", ports[trusted], timeout=20)) as connection:
            return [
                ask(connection, "POST", "/api/auth/login", BODY, {**JSON_TYPE, header: value})[0]
                for value in forwarded
            ]

    return statuses


@pytest.mark.parametrize(
    "header", ["X-Forwarded-For", "X-Real-Ip", "Forwarded", "X-Client-IP", "True-Client-IP"]
)
def test_a_forged_header_changes_nothing_by_default(log_in: Statuses, header: str) -> None:
    forged = [f"192.0.2.{number}" for number in range(4)]
    assert log_in(0, *forged, header=header) == [401, 401, 429, 429]


def test_only_what_the_outermost_trusted_proxy_saw_counts(log_in: Statuses) -> None:
    """The client forges at the left; the proxies append at the right."""
    seen = [f"192.0.2.{number}, 198.51.100.7, 10.0.0.1" for number in range(3)]
    assert log_in(2, *seen) == [401, 401, 429]
    assert log_in(2, "192.0.2.0, 198.51.100.8, 10.0.0.1") == [401]


def test_what_the_inner_proxy_saw_is_not_the_caller(log_in: Statuses) -> None:
    """The control: behind two proxies everybody's last hop is the same, and nobody is refused."""
    callers = [f"198.51.100.{number}, 10.0.0.1" for number in range(5)]
    assert log_in(2, *callers) == [401] * 5


def test_a_request_that_went_past_the_proxies_counts_by_its_connection(log_in: Statuses) -> None:
    forged = [f"192.0.2.{number}" for number in range(3)]
    assert log_in(2, *forged) == [401, 401, 429]


@pytest.mark.parametrize("forged", ["not an address", "x" * 4000, "::1%é", "1.2.3.4:99, ,"])
def test_a_header_of_any_text_is_taken(log_in: Statuses, forged: str) -> None:
    for trusted in (0, 2):
        assert log_in(trusted, f"{forged}, 10.0.0.1") == [401]


def test_a_path_cannot_be_forged_by_a_header_from_this_machine(ports: Ports, clean: None) -> None:
    with closing(Connection("127.0.0.1", ports[0], timeout=20)) as connection:
        headers = {"PATH_INFO": "/api/sessions", "SCRIPT_NAME": "/health"}
        status, body, _ = ask(connection, "GET", "/health", None, headers)
    assert (status, body["status"]) == (200, "healthy")
