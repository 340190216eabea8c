"""Limits on registering, logging in and reading: what they stop, and whom they do not."""

import re
import socket
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, nullcontext, suppress
from dataclasses import fields, replace
from itertools import repeat
from typing import Any
from uuid import uuid4

import pytest
from redis import Redis
from werkzeug.test import TestResponse

from core.bootstrap import Services
from core.rules.identity import canonical_name
from core.telemetry import metrics
from tests.api.conftest import CheckedClient, Connect
from tests.api.routes.test_service import closed_port
from tests.support.factories import PASSWORD, Shop
from web import create_app
from web.guards.rate_limits import Caller, Limit, Limiter, TooManyRequests, network_of

__all__ = ["closed_port"]

GUESSES = 300
HOME, STRANGER = "192.0.2.1", "203.0.113.9"
Limited = Callable[..., CheckedClient]


@pytest.fixture
def limited(services: Services, connect: Connect, clean: None) -> Limited:
    """A client of an application with other limits."""

    def with_limits(**limits: Any) -> CheckedClient:
        settings = replace(services.settings, limits=replace(services.settings.limits, **limits))
        return connect(create_app(services=replace(services, settings=settings)))

    return with_limits


def log_in(
    client: CheckedClient, name: str, password: str = PASSWORD, address: str = HOME
) -> TestResponse:
    return client.post(
        "/api/auth/login",
        json={"username": name, "password": password},
        environ_base={"REMOTE_ADDR": address},
    )


def register(client: CheckedClient, name: str, address: str = HOME) -> TestResponse:
    return client.post(
        "/api/auth/register",
        json={"username": name, "email": f"{uuid4().hex}@example.com", "password": PASSWORD},
        environ_base={"REMOTE_ADDR": address},
    )


def guess(client: CheckedClient, name: str, addresses: Iterator[str]) -> list[int]:
    """Hundreds of wrong passwords, eight at a time; the statuses."""

    def one(number: int, address: str) -> int:
        return log_in(client, name, f"wrong{number}", address).status_code

    with ThreadPoolExecutor(8) as pool:
        return list(pool.map(one, range(GUESSES), addresses))


def test_hundreds_of_wrong_passwords_from_one_address_achieve_nothing(
    anyone: CheckedClient, shop: Shop
) -> None:
    shop.account("ada")
    statuses = guess(anyone, "ada", repeat(STRANGER))
    assert statuses.count(401) <= 20  # ten a minute, and the test takes seconds
    assert set(statuses) == {401, 429}
    # Not even the right one tells the guesser anything now.
    assert log_in(anyone, "ada", PASSWORD, STRANGER).status_code == 429
    # Its owner is elsewhere, and comes in.
    assert log_in(anyone, "ada", PASSWORD, HOME).status_code == 200


def test_hundreds_of_wrong_passwords_from_as_many_addresses_achieve_nothing(
    anyone: CheckedClient, shop: Shop
) -> None:
    shop.account("ada")
    assert log_in(anyone, "ada").status_code == 200
    addresses = (f"198.51.{number // 250}.{number % 250}" for number in range(GUESSES))
    statuses = guess(anyone, "ada", addresses)
    assert (statuses.count(401), statuses.count(429)) == (99, GUESSES - 99)
    assert log_in(anyone, "ada", PASSWORD, STRANGER).status_code == 429
    # A stranger cannot lock a member out: where it was before, it comes in.
    assert log_in(anyone, "ada").status_code == 200
    # And no other account is touched.
    shop.account("bob")
    assert log_in(anyone, "bob", PASSWORD, STRANGER).status_code == 200


def test_without_the_limits_every_guess_is_tried(limited: Limited, shop: Shop) -> None:
    """The control: it is the limits that refuse."""
    shop.account("ada")
    client = limited(tries_per_minute=0, stranger_logins_per_hour=0, logins_per_minute=0)
    assert guess(client, "ada", repeat(STRANGER)) == [401] * GUESSES


def test_failures_are_forgotten_by_who_knows_the_password(limited: Limited, shop: Shop) -> None:
    shop.account("ada")
    client = limited(tries_per_minute=3)
    for _ in range(3):
        assert log_in(client, "ada", "wrong password").status_code == 401
        assert log_in(client, "ada", "wrong password").status_code == 401
        assert log_in(client, "ada").status_code == 200


def test_an_address_stays_known_for_thirty_days_after_the_last_login(
    services: Services, limited: Limited, shop: Shop
) -> None:
    shop.account("ada")
    client = limited()
    with Redis.from_url(services.settings.limits.storage_url) as counters:
        log_in(client, "ada")
        [known] = counters.keys("limits:known/*")
        counters.expire(known, 60)
        log_in(client, "ada")
        assert counters.ttl(known) > 29 * 86_400


def test_the_spelling_of_a_name_brings_no_further_guesses(limited: Limited, shop: Shop) -> None:
    shop.account("ΣΑΣİ")
    client = limited(tries_per_minute=2)
    names = ["ΣΑΣİ", "σαΣi", "σΑσİ"]  # noqa: RUF001 - letters that fold oddly
    assert [log_in(client, name, "wrong").status_code for name in names] == [401, 401, 429]


def test_a_name_of_any_bytes_is_counted(limited: Limited, shop: Shop) -> None:
    client = limited(tries_per_minute=1)
    for name in ("x" * 3_000, "\U0001f600", "{a}:*"):
        assert [log_in(client, name, "wrong").status_code for _ in range(2)] == [401, 429]


def test_one_address_logs_in_only_so_often_whatever_the_names(limited: Limited) -> None:
    client = limited(logins_per_minute=3)
    statuses = [log_in(client, f"nobody{number}", "wrong").status_code for number in range(5)]
    assert statuses == [401, 401, 401, 429, 429]
    assert log_in(client, "nobody0", "wrong", STRANGER).status_code == 401


def test_one_name_in_a_loop_does_not_use_up_what_its_neighbours_share(
    limited: Limited, shop: Shop
) -> None:
    shop.account("bob")
    client = limited(tries_per_minute=2, logins_per_minute=4)
    for _ in range(20):
        log_in(client, "ada", "wrong")
    assert log_in(client, "bob").status_code == 200


def test_one_address_registers_only_so_many(limited: Limited, shop: Shop) -> None:
    client = limited(registrations_per_minute=2)
    assert [register(client, f"name{n}").status_code for n in range(3)] == [201, 201, 429]
    assert register(client, "elsewhere", STRANGER).status_code == 201
    assert shop.rows("SELECT count(*) FROM users") == [(3,)]


def test_one_name_is_registered_only_so_often(limited: Limited) -> None:
    client = limited(tries_per_minute=2)
    assert [register(client, "ada").status_code for _ in range(3)] == [201, 409, 429]


def test_a_crowd_behind_one_address_comes_in(anyone: CheckedClient, shop: Shop) -> None:
    statuses = [register(anyone, f"member{number}").status_code for number in range(300)]
    statuses += [log_in(anyone, f"member{number}").status_code for number in range(300)]
    assert set(statuses) == {201, 200}


def test_reads_are_limited_by_address_and_those_of_members_by_member(
    limited: Limited, shop: Shop
) -> None:
    tokens = []
    client = limited(reads_per_minute=2, member_reads_per_minute=2)
    for name in ("ada", "bob"):
        shop.account(name)
        tokens.append(log_in(client, name).json["token"])
    assert [client.get("/api/sessions").status_code for _ in range(3)] == [200, 200, 429]
    for token in tokens:
        headers = {"Authorization": f"Bearer {token}"}
        statuses = [client.get("/api/auth/me", headers=headers).status_code for _ in range(3)]
        assert statuses == [200, 200, 429]


def test_bids_and_boards_pass_no_counter(limited: Limited, shop: Shop) -> None:
    session = shop.session()
    shop.account("ada")
    client = limited(reads_per_minute=1, member_reads_per_minute=1)
    token = log_in(client, "ada").json["token"]
    for price in (150, 160, 170):
        bid = client.post(
            "/api/bid",
            json={"session_id": str(session.session_id), "price": price},
            headers={"Authorization": f"Bearer {token}"},
        )
        page = client.get(f"/api/leaderboard/{session.session_id}?page_size=10")
        assert (bid.status_code, page.status_code) == (200, 200)
        assert not {"RateLimit", "RateLimit-Policy"} & set(bid.headers.keys())


def hits_of(name: str) -> float:
    value = metrics.REGISTRY.get_sample_value("flashbid_rate_limit_hits_total", {"limit": name})
    return value or 0.0


@pytest.mark.parametrize(
    ("name", "limits"),
    [
        ("register-name", {"tries_per_minute": 1}),
        ("register", {"registrations_per_minute": 1}),
        ("login-name", {"tries_per_minute": 1}),
        ("login", {"logins_per_minute": 1}),
        ("login-account", {"stranger_logins_per_hour": 1}),
        ("read", {"reads_per_minute": 1}),
        ("member-read", {"member_reads_per_minute": 1}),
    ],
)
def test_who_a_limit_refuses_is_counted_under_its_name(
    limited: Limited, shop: Shop, name: str, limits: dict[str, int]
) -> None:
    shop.account("ada")
    token = log_in(limited(), "ada").json["token"]
    client = limited(**limits)
    ask: Callable[[], TestResponse] = {
        "register": lambda: register(client, "eve"),
        "login": lambda: log_in(client, "bob", "wrong"),
        "read": lambda: client.get("/api/sessions"),
        "member": lambda: client.get("/api/auth/me", headers={"Authorization": f"Bearer {token}"}),
    }[name.partition("-")[0]]
    before = hits_of(name)
    assert [ask().status_code == 429 for _ in range(3)] == [False, True, True]
    assert hits_of(name) - before == 2


def test_answer_says_what_is_left(limited: Limited) -> None:
    client = limited(tries_per_minute=2, logins_per_minute=50)
    first, second, refused = (log_in(client, "ada", "wrong") for _ in range(3))
    assert first.headers["RateLimit-Policy"] == (
        '"login-name";q=2;w=60, "login";q=50;w=60, "login-account";q=100;w=3600'
    )
    for answer, remaining in ((first, 1), (second, 0), (refused, 0)):
        assert re.fullmatch(rf'"login-name";r={remaining};t=\d+', answer.headers["RateLimit"])
    assert 1 <= int(refused.headers["Retry-After"]) <= 60
    assert refused.mimetype == "application/problem+json"
    assert refused.json["code"] == "rate_limited"


def test_a_limit_of_nothing_is_none(limited: Limited) -> None:
    client = limited(reads_per_minute=0)
    answers = [client.get("/api/sessions") for _ in range(20)]
    assert {answer.status_code for answer in answers} == {200}
    assert "RateLimit" not in answers[0].headers


def test_who_is_known_comes_in_where_only_strangers_are_limited(
    limited: Limited, shop: Shop
) -> None:
    shop.account("ada")
    client = limited(tries_per_minute=0, logins_per_minute=0)
    answers = [log_in(client, "ada") for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200, 200, 200]
    assert ["RateLimit" in answer.headers for answer in answers] == [True, False, False]


# When the Redis that counts does not answer


@pytest.fixture(params=["redis", "redis+cluster"])
def away(request: pytest.FixtureRequest, closed_port: int) -> str:
    """Where nobody counts. A cluster's client connects when it is made, with errors of its own."""
    return f"{request.param}://127.0.0.1:{closed_port}"


def test_login_and_registering_are_still_limited_when_the_counters_are_away(
    limited: Limited, shop: Shop, away: str
) -> None:
    shop.account("ada")
    client = limited(storage_url=away, tries_per_minute=2, registrations_per_minute=2)
    assert [log_in(client, "ada", "wrong").status_code for _ in range(3)] == [401, 401, 429]
    assert log_in(client, "ada", PASSWORD, STRANGER).status_code == 200
    assert [register(client, f"name{n}").status_code for n in range(3)] == [201, 201, 429]


def test_reads_are_open_when_the_counters_are_away(limited: Limited, shop: Shop, away: str) -> None:
    shop.account("ada")
    client = limited(storage_url=away, reads_per_minute=1, member_reads_per_minute=1)
    token = log_in(client, "ada").json["token"]
    for path in ("/api/sessions", "/api/auth/me"):
        headers = {"Authorization": f"Bearer {token}"}
        answers = [client.get(path, headers=headers) for _ in range(3)]
        assert [answer.status_code for answer in answers] == [200, 200, 200]
        assert "RateLimit" not in answers[0].headers


# Whether a limit still refuses then. A new one is decided here, too.
REFUSES_IN_AN_OUTAGE = {
    Limit.REGISTER: True,
    Limit.LOGIN: True,
    Limit.READ: False,
    Limit.MEMBER_READ: False,
}


@pytest.mark.parametrize("limit", sorted(set(Limit) - {Limit.NONE}))
def test_each_limit_does_in_an_outage_what_was_decided(
    services: Services, away: str, limit: Limit
) -> None:
    settings = services.settings.limits
    quotas = {field.name: 1 for field in fields(settings) if field.name != "storage_url"}
    limiter = Limiter(replace(settings, storage_url=away, **quotas))
    caller = Caller(HOME, name="ada", member=str(uuid4()))
    limiter.count(limit, caller)
    refusal = pytest.raises(TooManyRequests) if REFUSES_IN_AN_OUTAGE[limit] else nullcontext()
    with refusal:
        limiter.count(limit, caller)


def connections(server: socket.socket) -> int:
    """How many have come to a server that never looked at one."""
    server.setblocking(False)
    count = 0
    with suppress(BlockingIOError):
        while True:
            server.accept()[0].close()
            count += 1
    return count


def test_counters_that_hang_are_not_asked_by_every_request(limited: Limited) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as silent:
        client = limited(storage_url=f"redis://127.0.0.1:{silent.getsockname()[1]}/0")
        statuses = [log_in(client, f"nobody{n}", "wrong").status_code for n in range(10)]
        assert statuses == [401] * 10
        assert 1 <= connections(silent) < 10


def test_counters_are_shared_by_all_processes(limited: Limited) -> None:
    first, second = limited(logins_per_minute=2), limited(logins_per_minute=2)
    statuses = [log_in(client, "ada", "wrong").status_code for client in (first, second, first)]
    assert statuses == [401, 401, 429]


# Who counts as one


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"),
        ("2001:db8:1:2::", "2001:db8:1:2::"),
        ("fe80::1%eth0", "fe80::"),
        ("192.0.2.1:5678", "192.0.2.1"),
        ("[2001:db8:1:2:3:4:5:6]:443", "2001:db8:1:2::"),
        ("[2001:db8:1:2::1]", "2001:db8:1:2::"),
        ("[::ffff:192.0.2.1]:80", "192.0.2.1"),
        ("192.0.2.1:five", "192.0.2.1:five"),
        ("unknown", "unknown"),
        ("", ""),
    ],
)
def test_an_address_counts_as_its_network(address: str, network: str) -> None:
    assert network_of(address) == network


def test_names_of_one_account_to_the_database_are_one_to_the_limits(shop: Shop) -> None:
    for name in ("İstanbul", "ΣΑΣ", "Straße", "ЖУК", "ǅ", "ÉCOLE", "K"):
        [(lowered,)] = shop.rows("SELECT lower(:name)", name=name)
        assert canonical_name(lowered) == canonical_name(name)
