"""Health, outages, and what an answer never shows."""

import socket
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from typing import NoReturn
from uuid import UUID

import pytest
from flask import Flask
from werkzeug.test import TestResponse

from core.bootstrap import Services, bootstrap
from core.config import Settings
from tests.api.conftest import CheckedClient, Connect
from tests.support.factories import Shop
from web import create_app


@pytest.fixture(scope="module")
def closed_port() -> Iterator[int]:
    """A port that is taken, so that nobody else gets it, but where nobody listens."""
    with closing(socket.socket()) as holder:
        holder.bind(("127.0.0.1", 0))
        yield holder.getsockname()[1]


def away(settings: Settings, port: int, *servers: str) -> Settings:
    """Settings that point at nobody in place of these servers."""
    nobody = {
        "database": {"postgres_host": "127.0.0.1", "postgres_port": port},
        "redis": {"redis_host": "127.0.0.1", "redis_port": port},
    }
    for server in servers:
        settings = replace(settings, **nobody[server])
    return settings


def app_without(services: Services, port: int, *servers: str) -> Flask:
    """An application whose servers are partly away."""
    return create_app(away(services.settings, port, *servers))


def test_service_is_healthy_when_both_servers_answer(anyone: CheckedClient) -> None:
    answer = anyone.get("/health")
    assert answer.status_code == 200
    assert answer.json == {
        "status": "healthy",
        "database": "ok",
        "redis": "ok",
        "persist_backlog": "ok",
    }


@pytest.mark.parametrize("servers", [["database"], ["redis"], ["database", "redis"]])
def test_service_is_degraded_when_a_server_is_away(
    services: Services, closed_port: int, connect: Connect, servers: list[str]
) -> None:
    answer = connect(app_without(services, closed_port, *servers)).get("/health")
    backlog = "unknown" if "redis" in servers else "ok"
    expected = {"status": "degraded", "database": "ok", "redis": "ok", "persist_backlog": backlog}
    assert answer.status_code == 503
    assert answer.json == expected | dict.fromkeys(servers, "unreachable")


# What needs which server. Everything else works without it.
NEEDS_DATABASE = [
    "GET /api/auth/me",
    "POST /api/auth/logout",
    "POST /api/auth/register",
    "POST /api/auth/login",
    "GET /api/admin/products",
    "GET /api/sessions",
    "GET /api/sessions/active",
    "GET /api/sessions/{sid}",
    "GET /api/results/{sid}",
    "GET /api/bids/me",
    "GET /api/admin/channels",
    "GET /api/admin/email-deliveries",
    "GET /api/admin/webhook-deliveries",
    "GET /api/notifications",
    "PUT /api/notifications/{sid}/read",
    "POST /api/notifications/read",
]
NEEDS_REDIS = [
    "GET /api/auth/me",
    "POST /api/auth/logout",
    "POST /api/bid",
    "GET /api/leaderboard/{sid}",
    "GET /api/leaderboard/{sid}/me",
    "GET /api/admin/stats",
    "GET /api/admin/sessions/{sid}/stats",
    "PUT /api/admin/sessions/{sid}/close",
    "POST /api/admin/sessions/combined",
]
WITHOUT_DATABASE = ["POST /api/bid", "GET /api/leaderboard/{sid}", "GET /api/leaderboard/{sid}/me"]
WITHOUT_REDIS = [
    "POST /api/auth/register",
    "GET /api/sessions",
    "GET /api/sessions/active",
    "GET /api/sessions/{sid}",
]


def ask(client: CheckedClient, key: str, session_id: UUID) -> TestResponse:
    """A request that is right in every way."""
    method, path = key.format(sid=session_id).split()
    body = {
        "username": "eve",
        "email": "eve@example.com",
        "password": "a good password",
        "session_id": str(session_id),
        "price": 150,
        "name": "Camera",
        "upset_price": 100,
        "inventory": 1,
    }
    return client.open(path, method=method, json=body if method == "POST" else None)


@pytest.mark.parametrize(
    ("server", "key"),
    [("database", key) for key in NEEDS_DATABASE] + [("redis", key) for key in NEEDS_REDIS],
)
def test_outage_is_answered_temporarily_unavailable(
    admin: CheckedClient, shop: Shop, closed_port: int, connect: Connect, server: str, key: str
) -> None:
    session = shop.session()
    shop.bid(shop.bidder(), session, "150")
    shop.services.revocations.load()
    client = connect(app_without(shop.services, closed_port, server))
    client.environ_base |= admin.environ_base
    refused = ask(client, key, session.session_id)
    assert (refused.status_code, refused.json["code"]) == (503, "temporarily_unavailable")
    assert int(refused.headers["Retry-After"]) >= 1
    assert "127.0.0.1" not in refused.text


@pytest.mark.parametrize(
    ("server", "key"),
    [("database", key) for key in WITHOUT_DATABASE] + [("redis", key) for key in WITHOUT_REDIS],
)
def test_what_needs_one_server_works_without_the_other(
    admin: CheckedClient, shop: Shop, closed_port: int, connect: Connect, server: str, key: str
) -> None:
    session = shop.session()
    admin.post("/api/bid", json={"session_id": str(session.session_id), "price": 140})
    client = connect(app_without(shop.services, closed_port, server))
    client.environ_base |= admin.environ_base
    assert ask(client, key, session.session_id).status_code in (200, 201)


def test_bid_that_redis_cannot_write_is_not_accepted(member: CheckedClient, shop: Shop) -> None:
    """Read-only, as on a replica or without enough of them."""
    bid = {"session_id": str(shop.session().session_id), "price": 150}
    member.post("/api/bid", json=bid)
    before = shop.redis_state()
    redis = shop.services.redis
    redis.config_set("min-replicas-to-write", 1)
    try:
        refused = member.post("/api/bid", json={**bid, "price": 160})
    finally:
        redis.config_set("min-replicas-to-write", 0)
    assert (refused.status_code, refused.json["code"]) == (503, "temporarily_unavailable")
    assert int(refused.headers["Retry-After"]) >= 1
    assert shop.redis_state() == before


class BrokenCatalogue:
    def products(self) -> NoReturn:
        raise RuntimeError("SELECT secret FROM users at db.internal:5432 with hunter2")


def test_unforeseen_error_shows_nothing_of_the_inside(
    admin: CheckedClient, services: Services
) -> None:
    app = create_app(services=replace(services, catalogue=BrokenCatalogue()))
    client = app.test_client()
    client.environ_base |= admin.environ_base
    answer = client.get("/api/admin/products", headers={"X-Request-ID": "abc-1"})
    assert answer.status_code == 500
    assert answer.mimetype == "application/problem+json"
    assert answer.json == {
        "type": "urn:flashbid:problem:internal_error",
        "title": "Internal Server Error",
        "status": 500,
        "detail": "Something went wrong on our side. If it happens again, report the request_id.",
        "code": "internal_error",
        "request_id": "abc-1",
    }
    assert "hunter2" not in str(answer.headers)


@pytest.mark.parametrize("path", ["/api/sessions", "/api/nothing", "/docs", "/health"])
def test_harmless_request_id_is_echoed(anyone: CheckedClient, path: str) -> None:
    answer = anyone.get(path, headers={"X-Request-ID": "Client_1.a-B"})
    assert answer.headers["X-Request-ID"] == "Client_1.a-B"


@pytest.mark.parametrize("given", ["", "a b", "<script>", "x" * 65, "a;b", "é"])
def test_harmful_request_id_is_replaced(anyone: CheckedClient, given: str) -> None:
    answer = anyone.get("/api/nothing", headers={"X-Request-ID": given})
    assert answer.headers["X-Request-ID"] not in ("", given)
    assert answer.json["request_id"] == answer.headers["X-Request-ID"]


def test_every_request_gets_an_id_of_its_own(anyone: CheckedClient) -> None:
    first, second = (anyone.get("/api/nothing").json["request_id"] for _ in range(2))
    assert first != second


ORIGIN = "https://shop.example"


def cors_app(settings: Settings, *origins: str) -> Flask:
    return create_app(services=bootstrap(replace(settings, cors_origins=origins)))


def allowed_origin(app: Flask, origin: str, method: str = "GET") -> str | None:
    headers = {"Origin": origin, "Access-Control-Request-Method": "POST"}
    answer = app.test_client().open("/api/nothing", method=method, headers=headers)
    return answer.headers.get("Access-Control-Allow-Origin")


@pytest.mark.parametrize("method", ["GET", "OPTIONS"])
def test_other_origins_are_shut_out_by_default(app: Flask, method: str) -> None:
    assert allowed_origin(app, ORIGIN, method) is None


@pytest.mark.parametrize("method", ["GET", "OPTIONS"])
@pytest.mark.parametrize(
    ("origin", "let_in"),
    [
        (ORIGIN, True),
        ("https://shop.example.evil.example", False),
        ("https://shopXexample", False),
        ("http://shop.example", False),
        ("null", False),
    ],
)
def test_listed_origins_and_no_others_are_let_in(
    settings: Settings, method: str, origin: str, let_in: bool
) -> None:
    app = cors_app(settings, ORIGIN, "https://other.example")
    assert allowed_origin(app, origin, method) == (origin if let_in else None)


@pytest.mark.parametrize("method", ["GET", "OPTIONS"])
@pytest.mark.parametrize("origin", ["http://[::1]:3000", "http://::3000", "http://1:3000"])
def test_an_origin_with_an_ipv6_address_is_no_pattern(
    settings: Settings, method: str, origin: str
) -> None:
    listed = "http://[::1]:3000"
    app = cors_app(settings, listed, "https://other.example")
    assert allowed_origin(app, origin, method) == (origin if origin == listed else None)
    assert allowed_origin(app, f"{listed}0", method) is None


def test_pages_of_a_listed_origin_can_read_the_total_count(settings: Settings) -> None:
    answer = (
        cors_app(settings, ORIGIN).test_client().get("/openapi.json", headers={"Origin": ORIGIN})
    )
    exposed = answer.headers["Access-Control-Expose-Headers"]
    assert {"X-Total-Count", "Retry-After", "X-Request-ID"} <= set(exposed.split(", "))
