"""Member weights: computed set-wise in PostgreSQL, cached in Redis for bids.

The formula is in core/rules/weighting.py; a test compares the two.
"""

from collections.abc import Hashable, Iterable, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from typing import cast
from uuid import UUID

from redis import Redis
from sqlalchemy import func, select, text, update
from sqlalchemy.orm import Session

from core import outages
from core.postgres.database import Database
from core.postgres.models import BiddingSession, Ranking, User
from core.redis import keys
from core.redis.cluster import ClusterClient
from core.rules import weighting

# An arbitrary advisory lock id: concurrent recomputations would lock the same members' rows
# in different orders.
_RECOMPUTATION_LOCK = 4_275_003
_CACHE_CHUNK = 5000
# How long an enqueued recomputation is expected to run before it counts as lost.
_TRUSTED = timedelta(seconds=60)

# A win counts while its offer is not left unpaid, also that of a successor. Sessions closed by
# versions that made no offers count by rank.
_RECOMPUTE = f"""
    WITH counted AS (
        SELECT rankings.user_id,
               sum(decay.factor) AS joined,
               coalesce(sum(decay.factor) FILTER (
                   WHERE CASE WHEN rankings.session_id IN (SELECT session_id FROM offers)
                              THEN offers.state IN ('open', 'paid')
                              ELSE {Ranking.is_winning()} END), 0) AS won
          FROM rankings
          JOIN sessions ON sessions.id = rankings.session_id
          LEFT JOIN offers ON offers.session_id = rankings.session_id
                          AND offers.user_id = rankings.user_id
         CROSS JOIN LATERAL (
               SELECT power(0.5::double precision,
                            greatest(0, extract(epoch FROM :now - end_time)::double precision)
                            / (86400 * :half_life_days)) AS factor
               ) decay
         WHERE :everybody
            OR rankings.user_id IN (SELECT user_id FROM rankings WHERE session_id = :session_id)
         GROUP BY rankings.user_id
    )
    UPDATE users u
       SET weight = least(greatest(
                        :new_member + :joined_factor * ln(1 + counted.joined)
                                    + :won_factor * ln(1 + counted.won),
                        :new_member), :max_weight)
      FROM counted
     WHERE u.id = counted.user_id AND u.erased_at IS NULL
    RETURNING u.id
"""  # noqa: S608 - a constant


class Weights:
    """Recomputes and caches member weights."""

    def __init__(self, database: Database, redis: Redis) -> None:
        self._database = database
        self._redis = redis

    def keys_for_script(self, user_ids: Iterable[UUID | str]) -> list[str]:
        """Keys of the cached weights, if the bid script can read them."""
        return [keys.user_weight(user_id) for user_id in user_ids]

    def group_of(self, user_id: UUID) -> Hashable:  # noqa: ARG002 - one group for all members
        """The group whose weights one `find` can look up."""
        return None

    def find(self, user_ids: Sequence[UUID]) -> dict[UUID, float]:
        """Weights that the bid script did not find, of members of one group. Blocks.

        Reads PostgreSQL and fills the cache; unknown accounts are left out.
        """
        weights = self.read(user_ids)
        # Best effort: the cache may be the server that is down.
        with suppress(*outages.REDIS):
            self._cache(weights.items(), only_new=True)
        return weights

    def read(self, user_ids: Sequence[UUID]) -> dict[UUID, float]:
        """Weights from PostgreSQL, bypassing the cache."""
        with self._database.begin() as db:
            rows = db.execute(select(User.id, User.weight).where(User.id.in_(user_ids)))
            return {row.id: row.weight for row in rows}

    def recompute_bidders_of(self, session_id: UUID, now: datetime) -> int:
        """Recompute the weights of an ended session's bidders; returns how many."""
        members = self._recompute(now, session_id)
        # Last: if the process dies before this, the session stays due.
        with self._database.begin() as db:
            db.execute(
                update(BiddingSession)
                .where(BiddingSession.id == session_id)
                .values(weighed_at=func.now())
            )
        return members

    def claim_due(self) -> list[UUID]:
        """Ended sessions whose recomputation was lost or killed.

        The caller must enqueue it: claimed sessions are not returned again for a while.
        """
        with self._database.begin() as db:
            session_ids = db.scalars(
                select(BiddingSession.id).where(
                    BiddingSession.weighed_at.is_(None),
                    BiddingSession.published_at < func.now() - _TRUSTED,
                )
            ).all()
        return [session_id for session_id in session_ids if self._claim(session_id)]

    def _claim(self, session_id: UUID) -> bool:
        return bool(self._redis.set(keys.recomputation_claim(session_id), 1, nx=True, ex=_TRUSTED))

    def recompute_all(self, now: datetime) -> int:
        """Recompute the weights of all members who ever bid; returns how many."""
        return self._recompute(now, None)

    def _recompute(self, now: datetime, session_id: UUID | None) -> int:
        with self._database.begin() as db:
            _take_turns(db)
            user_ids = db.scalars(
                text(_RECOMPUTE),
                {
                    "now": now,
                    "session_id": session_id,
                    "everybody": session_id is None,
                    "half_life_days": weighting.HALF_LIFE_DAYS,
                    "new_member": weighting.NEW_MEMBER_WEIGHT,
                    "joined_factor": weighting.JOINED_FACTOR,
                    "won_factor": weighting.WON_FACTOR,
                    "max_weight": weighting.MAX_WEIGHT,
                },
            ).all()
        for at in range(0, len(user_ids), _CACHE_CHUNK):
            self._refresh_cache(user_ids[at : at + _CACHE_CHUNK])
        return len(user_ids)

    def _refresh_cache(self, user_ids: Sequence[UUID]) -> None:
        """Cache committed weights, read again because another recomputation may have run
        since.
        """
        with self._database.begin() as db:
            _take_turns(db)
            weights = db.execute(select(User.id, User.weight).where(User.id.in_(user_ids))).all()
            self._cache([(user_id, weight) for user_id, weight in weights])

    def _cache(self, weights: Iterable[tuple[UUID, float]], *, only_new: bool = False) -> None:
        """`only_new`: keep a value that a recomputation wrote meanwhile."""
        with self._redis.pipeline(transaction=False) as pipeline:
            for user_id, weight in weights:
                pipeline.set(keys.user_weight(user_id), repr(weight), nx=only_new)
            pipeline.execute()


def _take_turns(db: Session) -> None:
    """Wait for other recomputations; the lock is held until the transaction ends."""
    db.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _RECOMPUTATION_LOCK})


class ClusterWeights(Weights):
    """The cache is on the members' nodes, where a session's script cannot read it."""

    def __init__(self, database: Database, redis: Redis) -> None:
        super().__init__(database, redis)
        self._nodes_in_use: set[Hashable] = set()

    def keys_for_script(self, user_ids: Iterable[UUID | str]) -> list[str]:  # noqa: ARG002 - none for any member
        return []

    def group_of(self, user_id: UUID) -> Hashable:
        return cast(ClusterClient, self._redis).cached_master_of(keys.user_weight(user_id))

    def find(self, user_ids: Sequence[UUID]) -> dict[UUID, float]:
        """Reads the members' node, or PostgreSQL if that node is down."""
        node = self.group_of(user_ids[0])
        if node in self._nodes_in_use:
            # The earlier lookup timed out: the node hangs, and must not occupy another thread.
            return self.read(user_ids)
        self._nodes_in_use.add(node)
        try:
            return self._find_at_node(user_ids)
        finally:
            self._nodes_in_use.discard(node)

    def _find_at_node(self, user_ids: Sequence[UUID]) -> dict[UUID, float]:
        try:
            node = cast(ClusterClient, self._redis).server_of(keys.user_weight(user_ids[0]))
            with node.pipeline(transaction=False) as pipeline:
                for user_id in user_ids:
                    pipeline.get(keys.user_weight(user_id))
                cached = pipeline.execute()
        except outages.REDIS:
            return self.read(user_ids)
        known = {
            user_id: float(text) for user_id, text in zip(user_ids, cached, strict=True) if text
        }
        unknown = [user_id for user_id in user_ids if user_id not in known]
        return known | super().find(unknown) if unknown else known
