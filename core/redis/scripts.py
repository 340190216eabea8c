"""The Redis scripts: one `.lua` file per operation, called by SHA, reloaded on NOSCRIPT.

`Outcome` lists the first element of every reply. Each script's header describes its keys,
arguments and replies.
"""

import hashlib
from collections.abc import Awaitable, Callable, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Any

from redis import Redis
from redis.exceptions import NoScriptError

_FOLDER = Path(__file__).parent / "lua"


class Outcome(StrEnum):
    """First element of every script's reply."""

    ACCEPTED = "accepted"
    REPLAYED = "replayed"
    UNKNOWN_SESSION = "unknown_session"
    UNKNOWN_WEIGHT = "unknown_weight"
    UNKNOWN_REVOCATIONS = "unknown_revocations"
    TOKEN_REVOKED = "token_revoked"  # noqa: S105 - an outcome, not a token
    ACCOUNT_DISABLED = "account_disabled"
    SESSION_NOT_STARTED = "session_not_started"
    SESSION_INACTIVE = "session_inactive"
    SESSION_ENDED = "session_ended"
    PRICE_BELOW_UPSET = "price_below_upset"
    PRICE_BELOW_STANDING = "price_below_standing"
    SCORE_WOULD_DROP = "score_would_drop"
    RATE_LIMITED = "rate_limited"
    UNREADABLE = "unreadable"
    BOARD = "board"
    STANDING = "standing"
    NO_BID = "no_bid"
    FINAL = "final"
    LOADING = "loading"
    LOADED = "loaded"
    OVERTAKEN = "overtaken"
    LOG_MADE = "log_made"
    UNLOADED = "unloaded"
    STATUS_SET = "status_set"
    GATE_SHUT = "gate_shut"
    NOT_DUE = "not_due"
    EXPIRING = "expiring"
    RENAMED = "renamed"
    LEASE_HELD = "lease_held"
    LEASE_TAKEN = "lease_taken"


class Script:
    """One Lua file. A call costs one round trip, or two after a flush of the script cache."""

    def __init__(self, name: str) -> None:
        self.source = (_FOLDER / f"{name}.lua").read_text(encoding="utf-8")
        self.sha = hashlib.sha1(self.source.encode(), usedforsecurity=False).hexdigest()

    def __call__(
        self, redis: Redis, keys: Sequence[str], args: Sequence[str | int | float | bytes] = ()
    ) -> list[Any]:
        reply: Any
        try:
            reply = redis.execute_command("EVALSHA", self.sha, len(keys), *keys, *args)  # type: ignore[no-untyped-call]
        except NoScriptError:
            # EVAL runs the script and caches it under the same SHA.
            reply = redis.execute_command("EVAL", self.source, len(keys), *keys, *args)  # type: ignore[no-untyped-call]
        return list(reply)

    async def call(
        self,
        execute: Callable[..., Awaitable[Any]],
        keys: Sequence[str],
        args: Sequence[str | int | float | bytes],
    ) -> list[Any]:
        """The reply; `execute` sends a command from an event loop."""
        try:
            reply = await execute("EVALSHA", self.sha, len(keys), *keys, *args)
        except NoScriptError:
            reply = await execute("EVAL", self.source, len(keys), *keys, *args)
        return list(reply)


place_bids = Script("place_bids")
read_board = Script("read_board")
read_standing = Script("read_standing")
load_standing_bids = Script("load_standing_bids")
load_session = Script("load_session")
make_log = Script("make_log")
unload_session = Script("unload_session")
set_status = Script("set_status")
follow_session = Script("follow_session")
shut_gate = Script("shut_gate")
expire_bids = Script("expire_bids")
rename_bidder = Script("rename_bidder")
take_lease = Script("take_lease")
extend_lease = Script("extend_lease")
