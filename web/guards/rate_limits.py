"""Limits on registering, logging in and reading. Bids and boards never come here: a bid's
limit is in the script that places it, and counting a look at a board costs more than the look.

Counted by `limits` in a sliding window, in a Redis that all web processes share. When that
does not answer, registering and logging in are counted in each process's own memory, and
reads are not limited: neither may stop the other because a counter is away.

The narrowest limit comes first, and a refused request is counted by none after the one that
refused it: a client that tries one name in a loop does not use up what everybody behind its
router shares.
"""

import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from hashlib import blake2b
from ipaddress import IPv6Address, ip_address
from math import ceil
from typing import TypeVar, cast

import structlog
from flask import Flask, Response, current_app, g, request
from limits import RateLimitItem, RateLimitItemPerHour, RateLimitItemPerMinute
from limits.storage import MemoryStorage, storage_from_string
from redis.backoff import NoBackoff
from redis.retry import Retry

from core import errors, outages
from core.config.limits import LimitSettings
from core.telemetry import metrics
from web.guards.windows import Windows

log = structlog.get_logger(__name__)

_LIMITER_KEY = "flashbid_limiter"
_KEY_PREFIX = "limits"
# A request waits for its counters no longer than this, and a Redis that did not answer is
# not asked again for a while.
_TIMEOUT_SECONDS = 0.5
_REST_SECONDS = 5.0
_KNOWN_ADDRESS_SECONDS = 30 * 86_400
_ADDRESS_AND_PORT = re.compile(r"(?:\[([^]]*)\]|([0-9.]+))(?::[0-9]+)?")


T = TypeVar("T")


class Limit(StrEnum):
    """What an operation counts as."""

    NONE = "none"
    REGISTER = "register"
    LOGIN = "login"
    READ = "read"
    MEMBER_READ = "member-read"


_OPEN_IN_AN_OUTAGE = (Limit.READ, Limit.MEMBER_READ)


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks; "" for what is not known. `name` as it is registered or logged in with."""

    address: str
    name: str = ""
    member: str = ""

    def key(self, *parts: str) -> str:
        """A short name for parts of any length and any characters."""
        return blake2b("\0".join(parts).encode(errors="replace"), digest_size=16).hexdigest()

    @property
    def known_key(self) -> str:
        """Names the fact that this account logged in from this address."""
        return f"known/{self.key(self.name, self.address)}"


@dataclass(frozen=True, slots=True)
class Policy:
    """One limit: how many in which window, counted for whom."""

    item: RateLimitItem
    key: Callable[[Caller], str]
    strangers_only: bool = False

    @property
    def name(self) -> str:
        return self.item.namespace

    def __str__(self) -> str:
        return f'"{self.name}";q={self.item.amount};w={self.item.get_expiry()}'


@dataclass(frozen=True, slots=True)
class Reading:
    """What is left of a limit, and in how many seconds there is more."""

    name: str
    remaining: int
    seconds: int

    def __str__(self) -> str:
        return f'"{self.name}";r={self.remaining};t={self.seconds}'


class TooManyRequests(errors.Refusal):
    """A limit is reached."""

    retry_after_seconds = 1

    def __init__(self, reading: Reading) -> None:
        unit = "second" if reading.seconds == 1 else "seconds"
        super().__init__(f"Too many requests. Try again in {reading.seconds} {unit}.")
        self.reading = reading
        self.retry_after_seconds = reading.seconds


class Limiter:
    """Counts for all operations of one application."""

    def __init__(self, settings: LimitSettings) -> None:
        self._storage_url = settings.storage_url
        self._shared: Windows | None = None
        self._own = Windows(MemoryStorage())
        self._policies = _policies(settings)
        self._rests_until = 0.0

    def policies(self, limit: Limit) -> Sequence[Policy]:
        """What stands between a caller and an operation, the narrowest first."""
        return self._policies[limit]

    def admit(self, limit: Limit, caller: Caller) -> Reading | None:
        """Count one request; what is left of the limit that will be reached first.

        None when nothing limits it. Raises TooManyRequests.
        """
        if not self._policies[limit]:
            return None
        is_counted, reading = self._with_shared(lambda counter: self._count(counter, limit, caller))
        if is_counted or limit in _OPEN_IN_AN_OUTAGE:
            return reading
        return self._count(self._own, limit, caller)

    def remember_login(self, caller: Caller) -> None:
        """The caller knew the password: forget the failures, and know the address."""

        def remember(counter: Windows) -> None:
            for policy in self._policies[Limit.LOGIN]:
                if policy.name == "login-name":
                    counter.clear(policy.item, policy.key(caller))
            counter.know(caller.known_key, _KNOWN_ADDRESS_SECONDS)

        is_remembered, _ = self._with_shared(remember)
        if not is_remembered:
            remember(self._own)

    def _with_shared(self, use: Callable[[Windows], T]) -> tuple[bool, T | None]:
        """Whether the shared counters could be used, and what came of it."""
        if time.monotonic() < self._rests_until:
            return False, None
        try:
            return True, use(self._shared_windows())
        except outages.REDIS as error:
            self._rests_until = time.monotonic() + _REST_SECONDS
            log.warning("limits_not_shared", reason=type(error).__name__)
            return False, None

    def _shared_windows(self) -> Windows:
        """Made at first use: a cluster's client connects as soon as it is made, which must
        neither stop the start nor be before gunicorn forks.
        """
        if self._shared is None:
            # Threads that come at once make one each, and one of them stays.
            storage = storage_from_string(
                self._storage_url,
                key_prefix=_KEY_PREFIX,
                socket_connect_timeout=_TIMEOUT_SECONDS,
                socket_timeout=_TIMEOUT_SECONDS,
                retry=Retry(NoBackoff(), 1),  # type: ignore[arg-type]
            )
            self._shared = Windows(storage)
        return self._shared

    def _count(self, counter: Windows, limit: Limit, caller: Caller) -> Reading | None:
        readings = []
        for policy in self._policies[limit]:
            if policy.strangers_only and counter.is_known(caller.known_key):
                continue
            is_admitted, window = counter.count(policy.item, policy.key(caller))
            seconds = max(1, ceil(window.reset_time - time.time()))
            reading = Reading(policy.name, max(0, window.remaining), seconds)
            if not is_admitted:
                raise TooManyRequests(reading)
            readings.append(reading)
        # None where the only limits that are on are for strangers, and this one is known.
        return min(readings, key=lambda reading: reading.remaining, default=None)


def init_app(app: Flask, settings: LimitSettings) -> None:
    """Give the application its counters."""
    app.extensions[_LIMITER_KEY] = Limiter(settings)


def admit(limit: Limit, name: str = "") -> None:
    """Let the request pass, or raise TooManyRequests."""
    if limit is Limit.NONE:
        return
    g.limit = limit
    try:
        g.limit_reading = _limiter().admit(limit, _caller(name))
    except TooManyRequests as refusal:
        g.limit_reading = refusal.reading
        note_refusal(refusal.reading.name)
        raise


def remember_login(name: str) -> None:
    """The request's caller has just proved that the account is theirs."""
    _limiter().remember_login(_caller(name))


def note_refusal(policy: str) -> None:
    """Where every request that a limit refuses is noted."""
    metrics.RATE_LIMIT_HITS.labels(policy).inc()
    log.info("limit_reached", policy=policy, address=request.remote_addr)


def add_headers(response: Response) -> None:
    """Say what is left (draft-ietf-httpapi-ratelimit-headers)."""
    reading = g.get("limit_reading")
    if reading is not None:
        policies = _limiter().policies(g.limit)
        response.headers["RateLimit-Policy"] = ", ".join(map(str, policies))
        response.headers["RateLimit"] = str(reading)


def network_of(address: str) -> str:
    """What counts as one address: of IPv6 the /64 that one customer has at the least.

    Without the port that some proxies append: each connection has another.
    """
    written = _ADDRESS_AND_PORT.fullmatch(address)
    try:
        parsed = ip_address(written[1] or written[2] if written else address)
    except ValueError:
        return address
    if not isinstance(parsed, IPv6Address):
        return str(parsed)
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return str(IPv6Address(int(parsed) >> 64 << 64))


def account_of(name: str) -> str:
    """One spelling of a name for all that log in to the same account.

    Letter by letter, as PostgreSQL's lower() has it: Python's own knows endings of words
    and letters that become two.
    """
    return "".join(letter.lower()[:1] for letter in name)


def _limiter() -> Limiter:
    return cast(Limiter, current_app.extensions[_LIMITER_KEY])


def _caller(name: str) -> Caller:
    return Caller(
        address=network_of(request.remote_addr or ""),
        name=account_of(name),
        member=str(g.claims["sub"]) if "claims" in g else "",
    )


def _policies(settings: LimitSettings) -> Mapping[Limit, Sequence[Policy]]:
    def by_address(caller: Caller) -> str:
        return caller.key(caller.address)

    def by_name(caller: Caller) -> str:
        return caller.key(caller.name, caller.address)

    def by_account(caller: Caller) -> str:
        return caller.key(caller.name)

    def by_member(caller: Caller) -> str:
        return caller.key(caller.member)

    def minute(name: str, amount: int, key: Callable[[Caller], str]) -> Policy:
        return Policy(RateLimitItemPerMinute(amount, namespace=name), key)

    strangers = RateLimitItemPerHour(settings.stranger_logins_per_hour, namespace="login-account")
    policies = {
        Limit.NONE: (),
        Limit.REGISTER: (
            minute("register-name", settings.tries_per_minute, by_name),
            minute("register", settings.registrations_per_minute, by_address),
        ),
        Limit.LOGIN: (
            minute("login-name", settings.tries_per_minute, by_name),
            minute("login", settings.logins_per_minute, by_address),
            Policy(strangers, by_account, strangers_only=True),
        ),
        Limit.READ: (minute("read", settings.reads_per_minute, by_address),),
        Limit.MEMBER_READ: (minute("member-read", settings.member_reads_per_minute, by_member),),
    }
    return {
        limit: tuple(policy for policy in group if policy.item.amount > 0)
        for limit, group in policies.items()
    }
