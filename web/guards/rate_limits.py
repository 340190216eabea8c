"""Limits on registrations, logins and reads. Bids are limited in the script that places them;
board pages are not limited, since counting a request would cost more than the page.

`limits` counts in sliding windows, in a Redis that all web processes share. While that is
unavailable, registrations and logins are counted in each process's memory and reads are not
limited: a missing counter must not stop the service.

The narrowest limit comes first, and a request that it refuses does not count towards the
others: a client that tries one name in a loop does not use up the limit of everybody behind
the same router.
"""

import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
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
from limits.util import WindowStats
from redis.backoff import NoBackoff
from redis.retry import Retry

from core import errors, outages
from core.config.limits import LimitSettings
from core.rules.identity import canonical_name
from core.telemetry import metrics
from web.guards.windows import Windows

log = structlog.get_logger(__name__)

_LIMITER_KEY = "flashbid_limiter"
# Of the limit that the script enforces (core/bidding/placing.py).
BIDS_POLICY = "bids"
_KEY_PREFIX = "limits"
# Timeout for the shared counters, and how long they are skipped after a failure.
_TIMEOUT_SECONDS = 0.5
_COOL_DOWN_SECONDS = 5.0
_KNOWN_ADDRESS_SECONDS = 30 * 86_400
_ADDRESS_AND_PORT = re.compile(r"(?:\[([^]]*)\]|([0-9.]+))(?::[0-9]+)?")


T = TypeVar("T")


class Limit(StrEnum):
    """The limit that an operation counts towards."""

    NONE = "none"
    REGISTER = "register"
    LOGIN = "login"
    READ = "read"
    MEMBER_READ = "member-read"


_UNLIMITED_IN_AN_OUTAGE = (Limit.READ, Limit.MEMBER_READ)


@dataclass(frozen=True, slots=True)
class Caller:
    """The client of a request; "" for unknown parts. `name`: the username sent with the request."""

    address: str
    name: str = ""
    member: str = ""

    def key(self, *parts: str) -> str:
        """A short key for parts of any length and any characters."""
        return blake2b("\0".join(parts).encode(errors="replace"), digest_size=16).hexdigest()

    @property
    def known_key(self) -> str:
        """The key that marks a past login to this account from this address."""
        return f"known/{self.key(self.name, self.address)}"


@dataclass(frozen=True, slots=True)
class Policy:
    """One limit: number and window, and the key to count by."""

    item: RateLimitItem
    key: Callable[[Caller], str]
    unknown_only: bool = False
    by_address: bool = False

    @property
    def name(self) -> str:
        return self.item.namespace

    def __str__(self) -> str:
        return f'"{self.name}";q={self.item.amount};w={self.item.get_expiry()}'


@dataclass(frozen=True, slots=True)
class LimitState:
    """The requests left under a limit, and the seconds until there are more."""

    name: str
    remaining: int
    seconds: int

    def __str__(self) -> str:
        return f'"{self.name}";r={self.remaining};t={self.seconds}'


class TooManyRequests(errors.Refusal):
    """The request exceeds a limit."""

    retry_after_seconds = 1

    def __init__(self, state: LimitState) -> None:
        unit = "second" if state.seconds == 1 else "seconds"
        super().__init__(f"Too many requests. Try again in {state.seconds} {unit}.")
        self.state = state
        self.retry_after_seconds = state.seconds


class Limiter:
    """Counts the requests of one application."""

    def __init__(self, settings: LimitSettings) -> None:
        self._storage_url = settings.storage_url
        self._shared: Windows | None = None
        self._local = Windows(MemoryStorage())
        self._policies = _policies(settings)
        self._cooling_down_until = 0.0

    def policies(self, limit: Limit) -> Sequence[Policy]:
        """The policies of a limit, narrowest first."""
        return self._policies[limit]

    def count(self, limit: Limit, caller: Caller) -> LimitState | None:
        """Count one request; the state of the policy closest to its limit.

        None when no policy applies. Raises TooManyRequests.
        """
        if not self._policies[limit]:
            return None
        return self._with_any(limit, lambda counter: self._count_in(counter, limit, caller))

    def require_room(self, limit: Limit, caller: Caller) -> None:
        """Raises TooManyRequests if the address alone is at its limit. Counts nothing."""

        def require(counter: Windows) -> None:
            for policy in self._by_address(limit):
                if not counter.test(policy.item, policy.key(caller)):
                    window = counter.get_window_stats(policy.item, policy.key(caller))
                    raise TooManyRequests(_state(policy, window))

        self._with_any(limit, require)

    def count_unread(self, limit: Limit, caller: Caller) -> None:
        """Count a request whose name is unknown, because it could not be read."""

        def count(counter: Windows) -> None:
            for policy in self._by_address(limit):
                counter.hit(policy.item, policy.key(caller))

        self._with_any(limit, count)

    def remember_login(self, caller: Caller) -> None:
        """After a successful login: clear the failures and mark the address as known."""

        def remember(counter: Windows) -> None:
            for policy in self._policies[Limit.LOGIN]:
                if policy.name == "login-name":
                    counter.clear(policy.item, policy.key(caller))
            counter.mark_known(caller.known_key, _KNOWN_ADDRESS_SECONDS)

        is_remembered, _ = self._with_shared(remember)
        if not is_remembered:
            remember(self._local)

    def _by_address(self, limit: Limit) -> Sequence[Policy]:
        return [policy for policy in self._policies[limit] if policy.by_address]

    def _with_any(self, limit: Limit, use: Callable[[Windows], T]) -> T | None:
        """Call `use` with the shared counters, or in an outage with those of this process."""
        is_done, result = self._with_shared(use)
        if is_done or limit in _UNLIMITED_IN_AN_OUTAGE:
            return result
        return use(self._local)

    def _with_shared(self, use: Callable[[Windows], T]) -> tuple[bool, T | None]:
        """Call `use` with the shared counters; whether that worked, and the result."""
        if time.monotonic() < self._cooling_down_until:
            return False, None
        try:
            return True, use(self._shared_windows())
        except outages.REDIS as error:
            self._cooling_down_until = time.monotonic() + _COOL_DOWN_SECONDS
            log.warning("limits_not_shared", reason=outages.reason_of(error))
            return False, None

    def _shared_windows(self) -> Windows:
        """The shared counters, created on first use: a cluster client connects when created,
        which must not block the start or happen before gunicorn forks.
        """
        if self._shared is None:
            # Concurrent threads may create one each; the last one is kept.
            storage = storage_from_string(
                self._storage_url,
                key_prefix=_KEY_PREFIX,
                socket_connect_timeout=_TIMEOUT_SECONDS,
                socket_timeout=_TIMEOUT_SECONDS,
                retry=Retry(NoBackoff(), 1),  # type: ignore[arg-type]
            )
            self._shared = Windows(storage)
        return self._shared

    def _count_in(self, counter: Windows, limit: Limit, caller: Caller) -> LimitState | None:
        states = []
        for policy in self._policies[limit]:
            if policy.unknown_only and counter.is_known(caller.known_key):
                continue
            is_within_limit, window = counter.count(policy.item, policy.key(caller))
            state = _state(policy, window)
            if not is_within_limit:
                raise TooManyRequests(state)
            states.append(state)
        # None when all policies are for unknown addresses and this one is known.
        return min(states, key=lambda state: state.remaining, default=None)


def _state(policy: Policy, window: WindowStats) -> LimitState:
    seconds = max(1, ceil(window.reset_time - time.time()))
    return LimitState(policy.name, max(0, window.remaining), seconds)


def init_app(app: Flask, settings: LimitSettings) -> None:
    """Create the application's counters."""
    app.extensions[_LIMITER_KEY] = Limiter(settings)
    # Each starts at 0, so that the dashboard shows the limits before the first hit.
    for name in (BIDS_POLICY, *(p.name for group in _policies(settings).values() for p in group)):
        metrics.RATE_LIMIT_HITS.labels(name)


def enforce_limit(limit: Limit, name: str = "") -> None:
    """Count the request. Raises TooManyRequests."""
    if limit is Limit.NONE:
        return
    with _refusals_recorded(limit):
        g.limit_state = _limiter().count(limit, _caller(name))


@contextmanager
def counted_unread(limit: Limit) -> Iterator[None]:
    """Around the reading of a request that counts by a name in it. An address at its limit is
    refused before; a request that cannot be read counts towards its address. Raises
    TooManyRequests.
    """
    if limit is Limit.NONE:
        yield
        return
    caller = _caller("")
    with _refusals_recorded(limit):
        _limiter().require_room(limit, caller)
    try:
        yield
    except Exception:
        _limiter().count_unread(limit, caller)
        raise


@contextmanager
def _refusals_recorded(limit: Limit) -> Iterator[None]:
    g.limit = limit
    try:
        yield
    except TooManyRequests as refusal:
        g.limit_state = refusal.state
        record_refusal(refusal.state.name)
        raise


def remember_login(name: str) -> None:
    """The caller of this request has logged in successfully."""
    _limiter().remember_login(_caller(name))


def record_refusal(policy: str) -> None:
    """Count and log a request that a limit refused."""
    metrics.RATE_LIMIT_HITS.labels(policy).inc()
    log.info("limit_reached", policy=policy, address=request.remote_addr)


def add_headers(response: Response) -> None:
    """Add the RateLimit headers (draft-ietf-httpapi-ratelimit-headers)."""
    state = g.get("limit_state")
    if state is not None:
        policies = _limiter().policies(g.limit)
        response.headers["RateLimit-Policy"] = ", ".join(map(str, policies))
        response.headers["RateLimit"] = str(state)


def network_of(address: str) -> str:
    """The address to count by; for IPv6 its /64, the smallest network of one customer.

    Drops the port that some proxies append, since it differs per connection.
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


def _limiter() -> Limiter:
    return cast(Limiter, current_app.extensions[_LIMITER_KEY])


def _caller(name: str) -> Caller:
    return Caller(
        address=network_of(request.remote_addr or ""),
        name=canonical_name(name),
        # An API key counts apart from its owner.
        member=str(g.principal) if "principal" in g else "",
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
        item = RateLimitItemPerMinute(amount, namespace=name)
        return Policy(item, key, by_address=key is by_address)

    by_unknown = RateLimitItemPerHour(settings.stranger_logins_per_hour, namespace="login-account")
    policies = {
        Limit.NONE: (),
        Limit.REGISTER: (
            minute("register-name", settings.tries_per_minute, by_name),
            minute("register", settings.registrations_per_minute, by_address),
        ),
        Limit.LOGIN: (
            minute("login-name", settings.tries_per_minute, by_name),
            minute("login", settings.logins_per_minute, by_address),
            Policy(by_unknown, by_account, unknown_only=True),
        ),
        Limit.READ: (minute("read", settings.reads_per_minute, by_address),),
        Limit.MEMBER_READ: (minute("member-read", settings.member_reads_per_minute, by_member),),
    }
    return {
        limit: tuple(policy for policy in group if policy.item.amount > 0)
        for limit, group in policies.items()
    }
