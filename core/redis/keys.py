"""Names of every Redis key. Nothing outside this module spells one.

The braces are literal: on a cluster they make all keys of a session share a slot,
which a script needs.
"""

from uuid import UUID

USER_WEIGHT_PREFIX = "user:weight:"
# Sorted set: token id (jti) -> when it expires, seconds since 1970; and disabled members'
# user ids -> infinity, so that one look answers for both. The member
# REVOCATIONS_LOADED says that the set is complete; without it PostgreSQL is asked.
REVOKED_TOKENS = "tokens:revoked"
REVOCATIONS_LOADED = "loaded"
# Set: ids of the sessions whose bid log may have entries.
LOADED_SESSIONS = "sessions:loaded"


def write_probe(session_id: UUID | str) -> str:
    """String, short-lived: written to see whether this session's server takes a write."""
    return f"probe:write:{{{session_id}}}"


def session_params(session_id: UUID | str) -> str:
    """Hash: terms, status, window, sequence, highest bid."""
    return f"session:params:{{{session_id}}}"


def ranking(session_id: UUID | str) -> str:
    """Sorted set: score -> ranking member (see core.rules.scoring.ranking_member)."""
    return f"ranking:{{{session_id}}}"


def standing_bid(session_id: UUID | str, user_id: UUID | str) -> str:
    """Hash: a member's latest accepted bid, and the member's rate-limit bucket."""
    return f"bid:{{{session_id}}}:{user_id}"


def standing_bid_prefix(session_id: UUID | str) -> str:
    """What every standing bid's key of a session starts with."""
    return f"bid:{{{session_id}}}:"


def bid_log(session_id: UUID | str) -> str:
    """Stream: accepted bids not yet in PostgreSQL; entry ids are `<sequence>-0`."""
    return f"bidlog:{{{session_id}}}"


def session_load(session_id: UUID | str) -> str:
    """String: token of the one process that is loading the session from PostgreSQL."""
    return f"session:load:{{{session_id}}}"


def close_claim(session_id: UUID | str) -> str:
    """String, short-lived: token of the one process that closes the session, or that a close
    was enqueued just now.
    """
    return f"session:closing:{{{session_id}}}"


def weighing_claim(session_id: UUID | str) -> str:
    """String, short-lived: a lost recomputation of this session's weights was enqueued again."""
    return f"session:weighing:{{{session_id}}}"


def revoked_tokens(session_id: UUID | str) -> str:
    """Sorted set: a session's own copy of REVOKED_TOKENS, where a script must find it in
    the session's slot.
    """
    return f"tokens:revoked:{{{session_id}}}"


def replication_mark(key: str) -> str:
    """String without meaning, in the key's slot: a write that replicas can confirm."""
    tag = key.partition("{")[2].partition("}")[0]
    return f"replicated:{{{tag or key}}}"


def user_weight(user_id: UUID | str) -> str:
    """String: cached weight; PostgreSQL is the truth."""
    return f"{USER_WEIGHT_PREFIX}{user_id}"
