"""Failed logins and forged tokens are logged by account and address, without what was typed."""

import json
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from tests.api.front.test_gunicorn import JSON_TYPE, Connection, ask
from tests.api.guards.test_tokens import part, signed
from tests.support.factories import PASSWORD, Shop
from tests.support.http.serving import logging_to

TYPED = "what-was-typed-Kq93"
CLIENT = "198.51.100.7"
Attempts = Callable[..., list[dict[str, Any]]]


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("attempts") / "web.log"


@pytest.fixture(scope="module")
def port(services: Any, log: Path) -> Iterator[int]:
    limits = {"TRIES_PER_MINUTE": "0", "ACCESS_LOG": "off"}
    with logging_to(log, **limits, TRUSTED_PROXIES="1") as port:
        yield port


@pytest.fixture
def attempts(port: int, log: Path, shop: Shop) -> Attempts:
    """Sends a request from CLIENT behind a proxy; the lines about attempts that it caused."""

    def send(method: str, path: str, body: Any = None, token: str = "") -> list[dict[str, Any]]:
        before = len(log.read_bytes())
        headers = {**JSON_TYPE, "X-Forwarded-For": f"192.0.2.1, {CLIENT}"}
        headers |= {"Authorization": f"Bearer {token}"} if token else {}
        with closing(Connection("127.0.0.1", port, timeout=20)) as connection:
            ask(connection, method, path, json.dumps(body).encode() if body else None, headers)
        added = log.read_bytes()[before:].decode()
        assert TYPED not in added
        lines = [json.loads(line) for line in added.splitlines()]
        return [line for line in lines if line["event"] in ("login_failed", "token_forged")]

    return send


def login(username: str, password: str) -> tuple[str, str, dict[str, str]]:
    return "POST", "/api/auth/login", {"username": username, "password": password}


def test_a_wrong_password_is_logged_with_the_accounts_name(attempts: Attempts, shop: Shop) -> None:
    shop.account("ada")
    [line] = attempts(*login("ADA", TYPED))
    assert (line["event"], line["level"]) == ("login_failed", "warning")
    assert (line["username"], line["reason"], line["client"]) == ("ada", "password", CLIENT)
    assert line["request_id"]


def test_an_unknown_name_is_not_logged(attempts: Attempts) -> None:
    """It may be a password in the wrong field."""
    [line] = attempts(*login(TYPED, "x"))
    assert (line["reason"], line["client"]) == ("unknown_account", CLIENT)
    assert "username" not in line


def test_a_login_to_a_disabled_account_is_logged(attempts: Attempts, shop: Shop) -> None:
    shop.account("ada")
    shop.services.membership.disable("ada")
    [line] = attempts(*login("ada", PASSWORD))
    assert (line["username"], line["reason"]) == ("ada", "disabled")


def test_a_login_is_not_logged_when_it_succeeds(attempts: Attempts, shop: Shop) -> None:
    shop.account("ada")
    assert attempts(*login("ada", PASSWORD)) == []


FORGERIES: dict[str, tuple[Callable[[dict[str, Any]], str], bool]] = {
    "another key": (lambda claims: signed(claims, "another-key-of-more-than-32-bytes"), True),
    "no algorithm": (lambda claims: f"{part({'alg': 'none'})}.{part(claims)}.", True),
    "another algorithm": (lambda claims: signed(claims, digest="sha512"), True),
    "no account": (lambda claims: signed({**claims, "sub": TYPED}, "another-key" * 4), False),
    "no token": (lambda claims: TYPED, False),
}


@pytest.mark.parametrize(
    ("method", "path"), [("GET", "/api/auth/me"), ("POST", "/api/bid"), ("GET", "/metrics")]
)
@pytest.mark.parametrize("forgery", FORGERIES)
def test_a_forged_token_is_logged_with_the_account_that_it_names(
    attempts: Attempts, shop: Shop, method: str, path: str, forgery: str
) -> None:
    victim = str(uuid4())
    forge, names_account = FORGERIES[forgery]
    claims = {"sub": victim, "jti": "x", "exp": 4_000_000_000, "username": TYPED}
    body = {"session_id": str(uuid4()), "price": 1} if method == "POST" else None
    [line] = attempts(method, path, body, forge(claims))
    assert (line["event"], line["client"]) == ("token_forged", CLIENT)
    assert line["reason"].endswith("Error")
    assert line.get("claimed_user_id") == (victim if names_account else None)


def test_an_expired_token_is_no_forgery(attempts: Attempts, shop: Shop) -> None:
    claims = {"sub": str(uuid4()), "jti": "x", "exp": 1_000_000_000, "username": "ada"}
    assert attempts("GET", "/api/auth/me", token=signed(claims)) == []
