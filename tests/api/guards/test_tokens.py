"""Tokens that are not ours, not whole, not valid any more; and headers that hold none."""

import base64
import hmac
import json
import time
from dataclasses import replace
from typing import Any
from uuid import uuid4

import pytest
from flask.testing import FlaskClient

from tests.api.conftest import CheckedClient
from tests.conftest import TEST_JWT_SECRET
from tests.support.factories import PASSWORD, Shop
from web import create_app

INVALID, MISSING, EXPIRED = "token_invalid", "token_missing", "token_expired"
# One route for each way in which a token is looked at.
ROUTES = [("GET", "/api/auth/me"), ("POST", "/api/bid"), ("GET", "/api/admin/stats")]


def part(value: object) -> str:
    """A part of a token, as the standard has it."""
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


def claims_of(token: str) -> dict[str, Any]:
    payload = token.split(".")[1]
    return json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))


def signed(claims: dict[str, Any], key: str = TEST_JWT_SECRET, digest: str = "sha256") -> str:
    """A token made by hand: no library keeps us from making a wrong one."""
    content = f"{part({'alg': f'HS{digest[3:]}', 'typ': 'JWT'})}.{part(claims)}"
    signature = hmac.digest(key.encode(), content.encode(), digest)
    return f"{content}.{base64.urlsafe_b64encode(signature).rstrip(b'=').decode()}"


def token_of(client: CheckedClient) -> str:
    return client.environ_base["HTTP_AUTHORIZATION"].removeprefix("Bearer ")


# What is done to a right token. Each gets the token and its claims.
FORGERIES: dict[str, Any] = {
    "no algorithm": lambda token, claims: f"{part({'alg': 'none', 'typ': 'JWT'})}.{part(claims)}.",
    "no algorithm, upper case": lambda token, claims: f"{part({'alg': 'NONE'})}.{part(claims)}.",
    "no algorithm, old signature": lambda token, claims: ".".join(
        [part({"alg": "none"}), *token.split(".")[1:]]
    ),
    "another key": lambda token, claims: signed(claims, "another-key-of-more-than-32-bytes-length"),
    "HS512": lambda token, claims: signed(claims, digest="sha512"),
    "RS256": lambda token, claims: ".".join([part({"alg": "RS256"}), *token.split(".")[1:]]),
    "unknown algorithm": lambda token, claims: ".".join([part({"alg": 5}), *token.split(".")[1:]]),
    "changed claims": lambda token, claims: ".".join(
        [token.split(".")[0], part({**claims, "sub": str(uuid4())}), token.split(".")[2]]
    ),
    "cut short": lambda token, claims: token[:-2],
    "two parts": lambda token, claims: token.rpartition(".")[0],
    "four parts": lambda token, claims: f"{token}.x",
    "no parts": lambda token, claims: "token",
    "dots": lambda token, claims: "..",
    "not JSON": lambda token, claims: "YQ.YQ.YQ",
    "not base64": lambda token, claims: f"!{token}",
    "not latin": lambda token, claims: f"{token}é",
    "a refresh token": lambda token, claims: signed({**claims, "type": "refresh"}),
    "no subject": lambda token, claims: signed(without(claims, "sub")),
    "no id": lambda token, claims: signed(without(claims, "jti")),
    "no expiry": lambda token, claims: signed(without(claims, "exp")),
    "no username": lambda token, claims: signed(without(claims, "username")),
    "a number for a username": lambda token, claims: signed({**claims, "username": 5}),
    "a number for a subject": lambda token, claims: signed({**claims, "sub": 5}),
    "no UUID for a subject": lambda token, claims: signed({**claims, "sub": "ada"}),
    "a list for an id": lambda token, claims: signed({**claims, "jti": ["x"]}),
    "text for an expiry": lambda token, claims: signed({**claims, "exp": "tomorrow"}),
    "not valid yet": lambda token, claims: signed({**claims, "nbf": int(time.time()) + 86_400}),
    "of nobody": lambda token, claims: signed({**claims, "sub": str(uuid4())}),
}


def without(claims: dict[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in claims.items() if key != name}


def refused(client: CheckedClient, shop: Shop, method: str, path: str, header: str | None) -> str:
    """The code that a request with this header gets; it must change nothing."""
    body = {"session_id": str(shop.session().session_id), "price": 150}
    shop.services.revocations.load()
    before = shop.redis_state()
    headers = {} if header is None else {"Authorization": header}
    answer = client.open(path, method=method, json=body, headers=headers)
    assert answer.status_code == 401, answer.text
    assert answer.headers["WWW-Authenticate"] == "Bearer"
    assert shop.redis_state() == before
    return answer.json["code"]


@pytest.mark.parametrize(("method", "path"), ROUTES)
@pytest.mark.parametrize("forgery", FORGERIES)
def test_forged_token_is_refused(
    admin: CheckedClient, anyone: CheckedClient, shop: Shop, method: str, path: str, forgery: str
) -> None:
    token = token_of(admin)
    forged = FORGERIES[forgery](token, claims_of(token))
    assert refused(anyone, shop, method, path, f"Bearer {forged}") == INVALID


@pytest.mark.parametrize(("method", "path"), ROUTES)
@pytest.mark.parametrize("age_seconds", [0, 1, 10**9])
def test_expired_token_is_refused(
    admin: CheckedClient,
    anyone: CheckedClient,
    shop: Shop,
    method: str,
    path: str,
    age_seconds: int,
) -> None:
    expired = {**claims_of(token_of(admin)), "exp": int(time.time()) - age_seconds}
    assert refused(anyone, shop, method, path, f"Bearer {signed(expired)}") == EXPIRED


def test_token_of_a_host_whose_clock_is_ahead_is_good(
    admin: CheckedClient, anyone: CheckedClient
) -> None:
    ahead = int(time.time()) + 3600
    anyone.with_token(signed({**claims_of(token_of(admin)), "iat": ahead, "nbf": ahead}))
    assert anyone.get("/api/auth/me").status_code == 200


def test_token_that_was_good_a_moment_ago_expires_all_the_same(
    admin: CheckedClient, anyone: CheckedClient
) -> None:
    """A verified token is remembered; its time is looked at every time."""
    # A busy machine may need longer for a request than the token has left.
    for seconds in (2, 20):
        claims = {**claims_of(token_of(admin)), "exp": int(time.time()) + seconds}
        anyone.with_token(signed(claims))
        if (status := anyone.get("/api/auth/me").status_code) == 200:
            break
    assert status == 200
    time.sleep(max(0.0, claims["exp"] - time.time()) + 0.01)
    assert anyone.get("/api/auth/me").json["code"] == EXPIRED


@pytest.mark.parametrize(("method", "path"), ROUTES)
@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "Bearer",
        "Bearer ",
        "Basic YWRhOnBhc3N3b3Jk",
        "Token abc",
        "{token}",
        "Bearer{token}",
    ],
)
def test_header_without_a_bearer_token_is_told_to_send_one(
    admin: CheckedClient,
    anyone: CheckedClient,
    shop: Shop,
    method: str,
    path: str,
    header: str | None,
) -> None:
    spelled = header and header.format(token=token_of(admin))
    assert refused(anyone, shop, method, path, spelled) == MISSING


@pytest.mark.parametrize(
    "header", ["Bearer \x80\xff", "\xff\xfe", "Bearer é", "Bearer a b c", f"Bearer {'x' * 7000}"]
)
def test_header_of_any_bytes_is_refused(anyone: CheckedClient, shop: Shop, header: str) -> None:
    assert refused(anyone, shop, "GET", "/api/auth/me", header) in (INVALID, MISSING)


def test_scheme_is_read_in_any_case(member: CheckedClient, anyone: CheckedClient) -> None:
    """RFC 9110, section 11.1: schemes have no case."""
    headers = {"Authorization": f"bearer {token_of(member)}"}
    assert anyone.get("/api/auth/me", headers=headers).status_code == 200


@pytest.mark.parametrize("place", ["query", "cookie", "body"])
def test_token_counts_in_the_header_only(
    member: CheckedClient, anyone: CheckedClient, place: str
) -> None:
    token = token_of(member)
    sent: dict[str, dict[str, Any]] = {
        "query": {"query_string": {"jwt": token, "access_token": token}},
        "cookie": {"headers": {"Cookie": f"access_token_cookie={token}"}},
        "body": {"json": {"access_token": token}},
    }
    assert anyone.get("/api/auth/me", **sent[place]).json["code"] == MISSING


def test_token_says_what_the_account_is_and_no_secret(member: CheckedClient) -> None:
    claims = claims_of(token_of(member))
    assert claims["sub"] == str(member.account.user_id)
    assert claims["username"] == "bob"
    assert set(claims) <= {"sub", "username", "jti", "exp", "iat", "nbf", "type", "fresh"}


# A change of the key

NEW_KEY = "the-next-secret-for-tests-of-more-than-32-bytes"


def with_keys(shop: Shop, key: str, previous: str) -> FlaskClient:
    settings = replace(shop.services.settings, jwt_secret=key, jwt_secret_previous=previous)
    return create_app(services=replace(shop.services, settings=settings)).test_client()


@pytest.mark.parametrize(("method", "path"), ROUTES)
def test_token_of_the_previous_key_is_good_while_that_is_named(
    admin: CheckedClient, shop: Shop, method: str, path: str
) -> None:
    body = {"session_id": str(shop.session().session_id), "price": 150}
    headers = {"Authorization": f"Bearer {token_of(admin)}"}
    during = with_keys(shop, NEW_KEY, TEST_JWT_SECRET)
    for _ in range(2):  # verified, and remembered
        assert during.open(path, method=method, json=body, headers=headers).status_code == 200
    after = with_keys(shop, NEW_KEY, "")
    assert after.open(path, method=method, json=body, headers=headers).json["code"] == INVALID


def test_new_tokens_are_signed_with_the_new_key(admin: CheckedClient, shop: Shop) -> None:
    login = {"username": "ada", "password": PASSWORD}
    token = with_keys(shop, NEW_KEY, TEST_JWT_SECRET).post("/api/auth/login", json=login)
    headers = {"Authorization": f"Bearer {token.json['token']}"}
    assert with_keys(shop, NEW_KEY, "").get("/api/auth/me", headers=headers).status_code == 200
    old = with_keys(shop, TEST_JWT_SECRET, "").get("/api/auth/me", headers=headers)
    assert old.json["code"] == INVALID
    # A process that was told of the key to come knows its tokens already.
    ahead = with_keys(shop, TEST_JWT_SECRET, NEW_KEY).get("/api/auth/me", headers=headers)
    assert ahead.status_code == 200


def test_token_of_the_previous_key_expires_and_is_logged_out_like_any_other(
    admin: CheckedClient, shop: Shop
) -> None:
    during = with_keys(shop, NEW_KEY, TEST_JWT_SECRET)
    claims = claims_of(token_of(admin))
    expired = signed({**claims, "exp": int(time.time()) - 1})
    third = signed(claims, "another-key-of-more-than-32-bytes-length")
    for token, code in ((expired, EXPIRED), (third, INVALID)):
        headers = {"Authorization": f"Bearer {token}"}
        assert during.get("/api/auth/me", headers=headers).json["code"] == code
    headers = {"Authorization": f"Bearer {token_of(admin)}"}
    assert during.post("/api/auth/logout", headers=headers).status_code == 204
    assert during.get("/api/auth/me", headers=headers).json["code"] == "token_revoked"
