"""Which tokens were logged out, and whose are refused altogether.

PostgreSQL is the truth. Redis holds the whole list in one sorted set, so that the
script that places a bid can look a token up without a further round trip; a Redis
that lost the set is given it back before the next token is judged.
"""

from datetime import UTC, datetime
from math import inf
from typing import Any
from uuid import UUID

from redis import Redis
from sqlalchemy import delete, func, select
from sqlalchemy.dialects.postgresql import insert

from core import errors
from core.postgres.database import Database
from core.postgres.models import BiddingSession, RevokedToken, User
from core.redis import keys
from core.rules.lifecycle import Status

# A session's copy is read from PostgreSQL anew this often, so that whatever a failover
# took from it is put right.
_REVOCATIONS_TTL_SECONDS = 3600


class Revocations:
    """Revokes tokens and tells which ones are revoked, across all processes at once."""

    def __init__(self, database: Database, redis: Redis) -> None:
        self._database = database
        self._redis = redis

    def revoke(self, token_id: str, expires_at: datetime) -> None:
        """Refuse this token from now on. Safe to repeat."""
        with self._database.begin() as db:
            db.execute(
                insert(RevokedToken)
                .values(token_id=token_id, expires_at=expires_at)
                .on_conflict_do_nothing()
            )
        self._refuse(token_id, until=expires_at.timestamp())

    def shut_out(self, user_id: UUID) -> None:
        """Refuse all tokens of a member from now on; the caller has it in PostgreSQL."""
        self._refuse(str(user_id), until=inf)

    def let_in(self, user_id: UUID) -> None:
        """Take `shut_out` back."""
        self._admit(str(user_id))

    def shut_out_members(self) -> list[UUID]:
        """Whom Redis shuts out."""
        names: Any = self._redis.zrangebyscore(keys.REVOKED_TOKENS, inf, inf)
        return [UUID(name) for name in names if name != keys.REVOCATIONS_LOADED]

    def require_good(self, token_id: str, user_id: UUID) -> None:
        """Raises TokenRevoked or AccountDisabled."""
        loaded, revoked, disabled = self._redis.zmscore(
            keys.REVOKED_TOKENS, [keys.REVOCATIONS_LOADED, token_id, str(user_id)]
        )
        if loaded is None:
            self.load()
            self.require_good(token_id, user_id)
        if revoked is not None:
            raise errors.TokenRevoked
        if disabled is not None:
            raise errors.AccountDisabled

    def _refuse(self, name: str, *, until: float) -> None:
        """Put a token's or a member's id on the list."""
        self._redis.zadd(keys.REVOKED_TOKENS, {name: until})

    def _admit(self, name: str) -> None:
        """Take it off the list."""
        self._redis.zrem(keys.REVOKED_TOKENS, name)

    def key_beside(self, session_id: UUID) -> str:  # noqa: ARG002 - one list for all here
        """The list that the bid script of this session reads."""
        return keys.REVOKED_TOKENS

    def load_beside(self, session_id: UUID) -> None:  # noqa: ARG002 - likewise
        """Give Redis back the list that the bid script of this session reads."""
        self.load()

    def load(self) -> None:
        """Give Redis the whole list back."""
        self._fill(keys.REVOKED_TOKENS)

    def _fill(self, name: str, *, lasting_seconds: int | None = None) -> None:
        with self._database.begin() as db:
            rows = db.execute(
                select(RevokedToken.token_id, RevokedToken.expires_at).where(
                    RevokedToken.expires_at > func.now()
                )
            )
            expiries = {token_id: expires_at.timestamp() for token_id, expires_at in rows}
            disabled = db.scalars(select(User.id).where(User.disabled_at.is_not(None)))
            shut_out = {str(user_id): inf for user_id in disabled}
        with self._redis.pipeline(transaction=False) as pipeline:
            pipeline.zadd(name, {**expiries, **shut_out, keys.REVOCATIONS_LOADED: inf})
            if lasting_seconds:
                pipeline.expire(name, lasting_seconds)
            pipeline.execute()

    def purge_expired(self) -> int:
        """Forget tokens that have expired by themselves; returns how many."""
        now = datetime.now(UTC)
        with self._database.begin() as db:
            purged = db.scalars(
                delete(RevokedToken)
                .where(RevokedToken.expires_at <= now)
                .returning(RevokedToken.token_id)
            ).all()
        self._redis.zremrangebyscore(keys.REVOKED_TOKENS, "-inf", now.timestamp())
        return len(purged)


class ClusterRevocations(Revocations):
    """Keeps each session's own copy of the logged-out tokens besides the whole list."""

    def key_beside(self, session_id: UUID) -> str:
        return keys.revoked_tokens(session_id)

    def load_beside(self, session_id: UUID) -> None:
        self._fill(self.key_beside(session_id), lasting_seconds=_REVOCATIONS_TTL_SECONDS)

    def _refuse(self, name: str, *, until: float) -> None:
        super()._refuse(name, until=until)
        with self._redis.pipeline(transaction=False) as pipeline:
            for copy in self._copies():
                pipeline.zadd(copy, {name: until})
                # For one that was not there; others keep the time they have.
                pipeline.expire(copy, _REVOCATIONS_TTL_SECONDS, nx=True)
            pipeline.execute()

    def _admit(self, name: str) -> None:
        super()._admit(name)
        with self._redis.pipeline(transaction=False) as pipeline:
            for copy in self._copies():
                pipeline.zrem(copy, name)
            pipeline.execute()

    def _copies(self) -> list[str]:
        """Of all sessions that may take a bid. One made later reads the token from PostgreSQL."""
        with self._database.begin() as db:
            open_sessions = db.scalars(
                select(BiddingSession.id).where(BiddingSession.status != Status.ENDED.value)
            )
            return [keys.revoked_tokens(session_id) for session_id in open_sessions]
