"""Issues and verifies tokens; checks API keys; identifies the caller."""

import time
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from functools import lru_cache, partial
from hmac import compare_digest
from typing import Any, cast
from uuid import UUID

import jwt
from flask import Flask, current_app, g, request
from flask_jwt_extended import JWTManager, create_access_token
from jwt.exceptions import ExpiredSignatureError, InvalidSignatureError, PyJWTError

from core import errors
from core.bidding.placing import Bidder
from core.config import Settings
from core.members import api_keys
from core.members.accounts import Account
from core.members.api_keys import KeyHolder
from core.operations.admin_log import Actor
from web.guards.rate_limits import Limit, counted_unread
from web.http.fields import parse_uuid
from web.state import services

_VERIFIER_KEY = "flashbid_token_verifier"
_USERNAME_CLAIM = "username"
# Added to the verified claims: the Bidder that the bid path needs.
_BIDDER_KEY = "flashbid_bidder"
# Verifying a token costs more than placing a bid, so verified tokens are cached, about a
# kilobyte each. Expiry and revocation are still checked every time.
_CACHED_TOKENS = 50_000
# The allowed clock difference between web hosts. A token issued "in the future" comes from a
# host whose clock is ahead: nobody else can sign one.
_CLOCK_DIFFERENCE_SECONDS = 7200

Claims = dict[str, Any]


class TokenMissing(Exception):
    """The request carries no bearer token."""


class TokenVerifier:
    """Verifies Authorization headers, with a cache."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._claims = lru_cache(_CACHED_TOKENS)(self._verify)

    def claims(self, header: str) -> Claims:
        """The claims of the header's token.

        Raises TokenMissing, TokenInvalid, TokenExpired, or ScopeMissing for an API key. Does not
        check revocation, which needs Redis.
        """
        claims = self._claims(header)
        if claims["exp"] <= time.time():
            raise errors.TokenExpired
        return claims

    def _verify(self, header: str) -> Claims:
        """The claims of a token that this service issued."""
        token = _bearer(header)
        if not token:
            raise TokenMissing
        if token.startswith(api_keys.PREFIX):
            raise errors.ScopeMissing
        try:
            claims = self._decode(token)
            claims["sub"] = parse_uuid(claims.get("sub"))
        except ExpiredSignatureError:
            raise errors.TokenExpired from None
        except (PyJWTError, ValueError) as error:
            raise errors.TokenInvalid(type(error).__name__, _claimed_id(token)) from None
        expected = {"jti": str, "exp": int, _USERNAME_CLAIM: str}
        if claims.get("type", "access") != "access" or not all(
            isinstance(claims.get(name), kind) for name, kind in expected.items()
        ):
            raise errors.TokenInvalid
        claims[_BIDDER_KEY] = Bidder(claims["sub"], claims[_USERNAME_CLAIM], claims["jti"])
        return claims

    def _decode(self, token: str) -> Claims:
        """The claims of a token signed with the current or the previous key."""
        decode = partial(
            jwt.decode,
            token,
            algorithms=[self._settings.jwt_algorithm],
            # For iat and nbf only: `claims` checks expiry without leeway.
            leeway=_CLOCK_DIFFERENCE_SECONDS,
        )
        try:
            return decode(self._settings.jwt_secret)
        except InvalidSignatureError:
            if not self._settings.jwt_secret_previous:
                raise
            return decode(self._settings.jwt_secret_previous)


def _bearer(header: str) -> str:
    """The token in an Authorization header; "" when it is of another scheme."""
    scheme, _, token = header.partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


def _claimed_id(token: str) -> UUID | None:
    """The account that a token names, whoever made it."""
    try:
        return parse_uuid(jwt.decode(token, options={"verify_signature": False}).get("sub"))
    except (PyJWTError, ValueError):
        return None


class Auth(StrEnum):
    """Who may call a route. Every route names one."""

    PUBLIC = "public"
    MEMBER = "member"
    # A member whose token revocation the bid script checks, to save a round trip.
    BIDDER = "bidder"
    ADMIN = "admin"
    # Metrics collectors: METRICS_TOKEN, or an admin.
    SCRAPER = "scraper"


def init_app(app: Flask, settings: Settings) -> None:
    """Set up how tokens are issued and verified."""
    app.config.update(
        JWT_SECRET_KEY=settings.jwt_secret,
        JWT_ALGORITHM=settings.jwt_algorithm,
        JWT_ACCESS_TOKEN_EXPIRES=timedelta(minutes=settings.access_token_expire_minutes),
        # Only needed for tokens in cookies; makes tokens shorter.
        JWT_COOKIE_CSRF_PROTECT=False,
    )
    JWTManager(app)
    app.extensions[_VERIFIER_KEY] = TokenVerifier(settings)


def verifier_of(app: Flask) -> TokenVerifier:
    """The application's verifier."""
    return cast(TokenVerifier, app.extensions[_VERIFIER_KEY])


def authorize(auth: Auth, scope: str | None = None) -> None:
    """Check the caller: a member, or where there is a scope an API key that has it. Raises the
    reason for a refusal.
    """
    if auth is Auth.PUBLIC or (auth is Auth.SCRAPER and _is_scraper()):
        return
    header = request.environ.get("HTTP_AUTHORIZATION", "")
    if scope is not None and (key := _bearer(header)).startswith(api_keys.PREFIX):
        _authorize_key(key, scope)
        return
    claims = verifier_of(current_app).claims(header)
    g.claims, g.principal = claims, claims["sub"]
    if auth is not Auth.BIDDER:
        services().revocations.require_valid(claims["jti"], claims["sub"])
    if auth in (Auth.ADMIN, Auth.SCRAPER):
        services().accounts.get_admin(current_user_id())


def _authorize_key(key: str, scope: str) -> None:
    """Check an API key. Each refused one costs a query, so they count as reads of the address."""
    with counted_unread(Limit.READ):
        g.key_holder = services().api_keys.authenticate(key, scope)
    g.principal = g.key_holder.key_id


def _is_scraper() -> bool:
    """Whether the caller has METRICS_TOKEN.

    An address opens nothing: a proxy on this machine that adds no header to what it forwards
    looks like a process of this machine.
    """
    token = services().settings.metrics_token
    header = request.environ.get("HTTP_AUTHORIZATION", "")
    return bool(token) and compare_digest(header.encode(), f"Bearer {token}".encode())


def issue(account: Account) -> dict[str, Any]:
    """A new token for the account, with its type and lifetime."""
    lifetime = timedelta(minutes=services().settings.access_token_expire_minutes)
    token = create_access_token(
        identity=str(account.user_id), additional_claims={_USERNAME_CLAIM: account.username}
    )
    return {
        "token": token,
        "token_type": "Bearer",
        "expires_in": int(lifetime.total_seconds()),
    }


def current_user_id() -> UUID:
    """The caller's id; behind an API key its owner's."""
    return cast(UUID, g.key_holder.owner_id if "key_holder" in g else g.claims["sub"])


def current_principal() -> UUID:
    """The id of the member or of the API key that calls."""
    return cast(UUID, g.principal)


def current_actor() -> Actor:
    """The caller, for the admin log."""
    if "key_holder" in g:
        holder: KeyHolder = g.key_holder
        return Actor(f"API key {holder.name} ({holder.key_id})", holder.owner_id)
    return Actor(g.claims[_USERNAME_CLAIM], current_user_id())


def bidder_of(claims: Claims) -> Bidder:
    """The bidder, from the token alone."""
    return cast(Bidder, claims[_BIDDER_KEY])


def current_token() -> tuple[str, datetime]:
    """Id and expiry of the caller's token."""
    return g.claims["jti"], datetime.fromtimestamp(g.claims["exp"], UTC)
