"""Bodies have limits by route; requests count before they are parsed, unreadable ones as well."""

import pytest
from flask import Flask

from core.bootstrap import Services
from tests.api.conftest import Connect
from tests.api.guards.test_bad_input import (
    JSON,
    MALFORMED,
    MAX_BYTES,
    ROUTES,
    Refuse,
    World,
    create_world,
    refuse,
)
from tests.api.guards.test_limits import STRANGER, Limited, limited
from web.http import body as http_body

__all__ = ["limited", "refuse"]

UNREADABLE = {
    "wide": f"[{','.join(['[]'] * 1_000)}]",
    "wide and too large": f"[{','.join(['[]'] * 21_000)}]",
    "deep": "[" * 4_000,
    "no JSON": "{",
    "nothing": "",
    "no name": '{"password": "a good password"}',
    "too short": '{"username": "a", "email": "a@example.com", "password": "1"}',
}


@pytest.fixture
def world(app: Flask, services: Services, connect: Connect) -> World:
    """One for each test: other tests here empty the tables."""
    return create_world(app, services, connect)


@pytest.mark.parametrize("body", UNREADABLE.values(), ids=UNREADABLE)
@pytest.mark.parametrize("route", ["login", "register"])
def test_what_cannot_be_read_counts_and_then_nothing_more_is_read(
    limited: Limited, monkeypatch: pytest.MonkeyPatch, route: str, body: str
) -> None:
    decoded: list[object] = []
    decode = http_body.decode
    monkeypatch.setattr(http_body, "decode", lambda *a: (decoded.append(a), decode(*a))[1])
    client = limited(logins_per_minute=3, registrations_per_minute=3)
    path = f"/api/auth/{route}"
    statuses = [client.post_raw(path, body).status_code for _ in range(6)]
    assert [status == 429 for status in statuses] == [False] * 3 + [True] * 3
    assert len(decoded) == 3
    refused = client.post_raw(path, body)
    assert refused.json["code"] == "rate_limited"
    assert int(refused.headers["Retry-After"]) >= 1
    elsewhere = client.post_raw(path, body, environ_base={"REMOTE_ADDR": STRANGER})
    assert elsewhere.status_code == statuses[0]


@pytest.mark.parametrize("path", ["/api/sessions?page=0", "/api/sessions/x", "/api/results/x"])
def test_reads_count_before_they_are_parsed(limited: Limited, path: str) -> None:
    client = limited(reads_per_minute=2)
    statuses = [client.get(path).status_code for _ in range(4)]
    assert [status == 429 for status in statuses] == [False, False, True, True]


@pytest.mark.parametrize("route", ROUTES)
def test_body_above_the_limit_is_refused(world: World, refuse: Refuse, route: str) -> None:
    max_bytes = MAX_BYTES[route]
    as_large_as_may_be = "[" * max_bytes
    refuse(MALFORMED, "POST", ROUTES[route][0], data=as_large_as_may_be, content_type=JSON)
    body = world.body(route).ljust(max_bytes + 1)
    answer = refuse(
        (413, "body_too_large"),
        "POST",
        ROUTES[route][0],
        data=body,
        content_type=JSON,
    )
    assert answer.json["detail"] == f"The body is too large: at most {max_bytes} bytes."
