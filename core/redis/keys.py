"""Names of all Redis keys; no other module builds one.

The braces are literal: on a cluster these hash tags put all keys of a session into one slot,
as scripts require.
"""

from uuid import UUID

USER_WEIGHT_PREFIX = "user:weight:"
# Sorted set: revoked token id (jti) -> its expiry, seconds since 1970; id of a member that is
# disabled or gone -> infinity. The entry REVOCATIONS_LOADED marks the set as complete; without
# it, it must be reloaded from PostgreSQL.
REVOKED_TOKENS = "tokens:revoked"
REVOCATIONS_LOADED = "loaded"
# String, short-lived: token of the process that removes deleted accounts from Redis.
SETTLING_ACCOUNTS = "accounts:settling"
# String, short-lived: token of the process that archives bids.
ARCHIVING = "bids:archiving"
# Set: ids of the sessions whose bid log may have entries.
LOADED_SESSIONS = "sessions:loaded"


def write_probe(session_id: UUID | str) -> str:
    """String, short-lived: written to test whether the session's server accepts writes."""
    return f"probe:write:{{{session_id}}}"


def session_params(session_id: UUID | str) -> str:
    """Hash: terms, status, window, sequence, highest bid."""
    return f"session:params:{{{session_id}}}"


def ranking(session_id: UUID | str) -> str:
    """Sorted set: score -> ranking member (see core.rules.scoring.ranking_member)."""
    return f"ranking:{{{session_id}}}"


def standing_prices(session_id: UUID | str) -> str:
    """Sorted set: standing price -> user id, in sessions whose bids may be lowered."""
    return f"prices:{{{session_id}}}"


def standing_bid(session_id: UUID | str, user_id: UUID | str) -> str:
    """Hash: a member's latest accepted bid, and the member's rate-limit bucket."""
    return f"bid:{{{session_id}}}:{user_id}"


def standing_bid_prefix(session_id: UUID | str) -> str:
    """Prefix of a session's standing-bid keys."""
    return f"bid:{{{session_id}}}:"


def bid_log(session_id: UUID | str) -> str:
    """Stream: accepted bids not yet in PostgreSQL; entry ids are `<sequence>-0`."""
    return f"bidlog:{{{session_id}}}"


def session_load(session_id: UUID | str) -> str:
    """String: token of the process that is loading the session from PostgreSQL."""
    return f"session:load:{{{session_id}}}"


def close_claim(session_id: UUID | str) -> str:
    """String, short-lived: token of the process that is closing the session, or a mark that a
    close is enqueued.
    """
    return f"session:closing:{{{session_id}}}"


def recomputation_claim(session_id: UUID | str) -> str:
    """String, short-lived: a recomputation of this session's weights was enqueued again."""
    return f"session:weighing:{{{session_id}}}"


def export_claim(export_id: UUID | str) -> str:
    """String, short-lived: token of the process that writes the export, or a mark that its job is
    enqueued.
    """
    return f"export:making:{{{export_id}}}"


def revoked_tokens(session_id: UUID | str) -> str:
    """Sorted set: a session's copy of REVOKED_TOKENS in its slot, for scripts on a cluster."""
    return f"tokens:revoked:{{{session_id}}}"


def replication_mark(key: str) -> str:
    """Empty string in the key's slot: a write for replicas to confirm."""
    tag = key.partition("{")[2].partition("}")[0]
    return f"replicated:{{{tag or key}}}"


def user_weight(user_id: UUID | str) -> str:
    """String: cached weight; PostgreSQL is authoritative."""
    return f"{USER_WEIGHT_PREFIX}{user_id}"
