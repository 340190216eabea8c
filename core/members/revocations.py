"""Revoked tokens, and members that are disabled or whose account is gone.

PostgreSQL is authoritative. Redis holds the whole list in one sorted set, so that the bid
script can check a token without another round trip. If Redis has lost the set, it is
reloaded before the next token is checked.
"""

from datetime import UTC, datetime
from math import inf
from typing import Any
from uuid import UUID

from redis import Redis
from sqlalchemy import CompoundSelect, delete, func, select, union_all
from sqlalchemy.dialects.postgresql import insert

from core import errors
from core.postgres.database import Database
from core.postgres.models import BiddingSession, DeletedAccount, RevokedToken, User
from core.redis import keys

# How often a session's copy is reloaded from PostgreSQL, which repairs what a failover lost.
_REVOCATIONS_TTL_SECONDS = 3600


class Revocations:
    """Revokes and checks tokens, with immediate effect in all processes."""

    def __init__(self, database: Database, redis: Redis) -> None:
        self._database = database
        self._redis = redis

    def revoke(self, token_id: str, expires_at: datetime) -> None:
        """Revoke a token. Safe to repeat."""
        with self._database.begin() as db:
            db.execute(
                insert(RevokedToken)
                .values(token_id=token_id, expires_at=expires_at)
                .on_conflict_do_nothing()
            )
        self._add(token_id, until=expires_at.timestamp())

    def disable(self, *user_ids: UUID) -> None:
        """Refuse all tokens of members. Redis only: the caller updates PostgreSQL."""
        self._add(*map(str, user_ids), until=inf)

    def enable(self, user_id: UUID) -> None:
        """Undo `disable`."""
        self._remove(str(user_id))

    def disabled_members(self) -> list[UUID]:
        """Members that are disabled in Redis."""
        names: Any = self._redis.zrangebyscore(keys.REVOKED_TOKENS, inf, inf)
        return [UUID(name) for name in names if name != keys.REVOCATIONS_LOADED]

    def require_valid(self, token_id: str, user_id: UUID) -> None:
        """Raises TokenRevoked or AccountDisabled."""
        loaded, revoked, disabled = self._redis.zmscore(
            keys.REVOKED_TOKENS, [keys.REVOCATIONS_LOADED, token_id, str(user_id)]
        )
        if loaded is None:
            self.load()
            self.require_valid(token_id, user_id)
        if revoked is not None:
            raise errors.TokenRevoked
        if disabled is not None:
            raise errors.AccountDisabled

    def _add(self, *names: str, until: float) -> None:
        """Add the ids of tokens or members to the list."""
        self._redis.zadd(keys.REVOKED_TOKENS, dict.fromkeys(names, until))

    def _remove(self, name: str) -> None:
        """Remove it from the list."""
        self._redis.zrem(keys.REVOKED_TOKENS, name)

    def key_for_script(self, session_id: UUID) -> str:  # noqa: ARG002 - one list for all sessions
        """Key of the list that the bid script reads for this session."""
        return keys.REVOKED_TOKENS

    def load_for_script(self, session_id: UUID) -> None:  # noqa: ARG002 - likewise
        """Reload the list that the bid script reads for this session."""
        self.load()

    def load(self) -> None:
        """Reload the whole list into Redis."""
        self._fill(keys.REVOKED_TOKENS)

    def _fill(self, name: str, *, lasting_seconds: int | None = None) -> None:
        with self._database.begin() as db:
            rows = db.execute(
                select(RevokedToken.token_id, RevokedToken.expires_at).where(
                    RevokedToken.expires_at > func.now()
                )
            )
            expiries = {token_id: expires_at.timestamp() for token_id, expires_at in rows}
            refused = db.scalars(_refused_members())
            members = {str(user_id): inf for user_id in refused}
        with self._redis.pipeline(transaction=False) as pipeline:
            pipeline.zadd(name, {**expiries, **members, keys.REVOCATIONS_LOADED: inf})
            if lasting_seconds:
                pipeline.expire(name, lasting_seconds)
            pipeline.execute()

    def purge_expired(self) -> int:
        """Delete revoked tokens that have expired; returns how many."""
        now = datetime.now(UTC)
        with self._database.begin() as db:
            purged = db.scalars(
                delete(RevokedToken)
                .where(RevokedToken.expires_at <= now)
                .returning(RevokedToken.token_id)
            ).all()
        self._redis.zremrangebyscore(keys.REVOKED_TOKENS, "-inf", now.timestamp())
        return len(purged)


def _refused_members() -> CompoundSelect[UUID]:
    """Ids of disabled members, and of deleted ones unless the row has come back."""
    return union_all(
        select(User.id).where(User.disabled_at.is_not(None)),
        select(DeletedAccount.user_id)
        .outerjoin(User, User.id == DeletedAccount.user_id)
        .where(User.id.is_(None)),
    )


class ClusterRevocations(Revocations):
    """Also keeps a copy of the list for each session, in the session's slot."""

    def key_for_script(self, session_id: UUID) -> str:
        return keys.revoked_tokens(session_id)

    def load_for_script(self, session_id: UUID) -> None:
        self._fill(self.key_for_script(session_id), lasting_seconds=_REVOCATIONS_TTL_SECONDS)

    def _add(self, *names: str, until: float) -> None:
        super()._add(*names, until=until)
        with self._redis.pipeline(transaction=False) as pipeline:
            for copy in self._copies():
                pipeline.zadd(copy, dict.fromkeys(names, until))
                # NX: existing copies keep their expiry.
                pipeline.expire(copy, _REVOCATIONS_TTL_SECONDS, nx=True)
            pipeline.execute()

    def _remove(self, name: str) -> None:
        super()._remove(name)
        with self._redis.pipeline(transaction=False) as pipeline:
            for copy in self._copies():
                pipeline.zrem(copy, name)
            pipeline.execute()

    def _copies(self) -> list[str]:
        """Keys of all open sessions' copies. A copy made later reads the token from PostgreSQL."""
        with self._database.begin() as db:
            open_sessions = db.scalars(
                select(BiddingSession.id).where(BiddingSession.may_have_log())
            )
            return [keys.revoked_tokens(session_id) for session_id in open_sessions]
