"""Accounts that are gone: erased by a command, deleted by hand, or absent from a backup.

Their tokens are refused, and their bids, ranks and ids stay: they are the proof of other
members' ranks. `deleted_accounts` names every one of them. A row that is not settled yet is
an order to remove what Redis knows of the account, for whoever comes first: the command
itself, or a sweep if it was killed.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime
from itertools import islice
from secrets import token_hex
from typing import Any
from uuid import UUID

import structlog
from redis import Redis
from redis.exceptions import ConnectionError as RedisUnreachable
from redis.exceptions import TimeoutError as RedisSilent
from sqlalchemy import Text, cast, delete, exists, func, or_, select, text, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from core import errors
from core.members.naming import by_name
from core.members.revocations import Revocations
from core.postgres.database import Database
from core.postgres.models import (
    DELETED_MEMBER,
    Bid,
    BiddingSession,
    DeletedAccount,
    Ranking,
    Reminder,
    ShopEvent,
    User,
)
from core.redis import keys, leases, scripts
from core.rules import scoring
from core.rules.weighting import NEW_MEMBER_WEIGHT

log = structlog.get_logger(__name__)

_CHUNK = 1000
# A call of `settle_due` starts no further account after this time.
_SETTLE_SECONDS = 60.0
_CANCEL_EMAILS = text("""
    UPDATE email_deliveries SET next_attempt_at = NULL, last_error = 'the account was erased'
      FROM notifications
     WHERE id = notification_id AND user_id = :user_id AND next_attempt_at IS NOT NULL
""")
_RENAME_IN_ACTIONS = text("""
    UPDATE admin_actions
       SET actor = CASE WHEN actor_id = :user_id THEN :pseudonym ELSE actor END,
           details = CASE WHEN lower(details->>'username') = lower(:username)
                          THEN details || jsonb_build_object('username', cast(:pseudonym AS text))
                          ELSE details END
     WHERE actor_id = :user_id OR lower(details->>'username') = lower(:username)
""")


class Erasure:
    """Erases members, and makes Redis forget accounts that are gone."""

    def __init__(
        self,
        database: Database,
        redis: Redis,
        revocations: Revocations,
        *,
        unusable_hash: Callable[[], str],
    ) -> None:
        self._database = database
        self._redis = redis
        self._revocations = revocations
        self._unusable_hash = unusable_hash

    def find(self, name_or_id: str) -> UUID:
        """The id of the account with this name, in any spelling, or id.

        Raises AccountNotFound.
        """
        with self._database.begin() as db:
            user = db.scalar(by_name(name_or_id).where(User.erased_at.is_(None)))
            if user is None and (parsed := _parsed(name_or_id)):
                user = db.get(User, parsed)
        if user is None:
            raise errors.AccountNotFound(name_or_id)
        return user.id

    def erase(self, user_id: UUID) -> None:
        """Replace the member's name and address, and refuse its tokens. Safe to repeat.

        As in `Membership.disable`, Redis refuses the tokens before the commit: if Redis is down
        nothing changes. If the process dies after the commit, `settle_due` does the rest.
        """
        password_hash = self._unusable_hash()
        with self._database.begin() as db:
            user = db.get_one(User, user_id, with_for_update=True)
            if user.erased_at is None:
                self._pseudonymise(db, user, password_hash)
            _note(db, [user_id])
            db.flush()
            self._revocations.disable(user_id)
        log.info("member_erased", user_id=str(user_id))
        self._settle(user_id)

    def settle_due(self) -> int:
        """Settle accounts that are gone, for a while; returns how many were settled.

        All their tokens are refused first. One account that cannot be settled is logged, left
        for the next call, and does not hold up the others. A concurrent call returns at once.
        """
        due = self._due()
        if not due:
            return 0
        with leases.held(self._redis, keys.SETTLING_ACCOUNTS) as token:
            if token is None:
                return 0
            self._revocations.disable(*due)
            give_up_at = time.monotonic() + _SETTLE_SECONDS
            return sum(
                self._settle_one(user_id) for user_id in due if time.monotonic() < give_up_at
            )

    def _due(self) -> Sequence[UUID]:
        """Accounts to settle; at random, so that none is always behind one that fails."""
        unsettled = DeletedAccount.settled_at.is_(None)
        with self._database.begin() as db:
            # Almost always there are none: then a sweep does not touch `users`.
            if not db.scalar(select(exists().where(unsettled))):
                return []
            return db.scalars(
                select(DeletedAccount.user_id)
                .outerjoin(User, User.id == DeletedAccount.user_id)
                .where(unsettled, or_(User.id.is_(None), User.erased_at.is_not(None)))
                .order_by(func.random())
            ).all()

    def find_missing(self) -> int | None:
        """Settle the accounts that Redis knows and PostgreSQL does not have, as after a backup
        was restored; returns how many were found.

        None if PostgreSQL has none of them: then the two belong to different shops, and nothing
        is changed.
        """
        missing: set[UUID] = set()
        known = 0
        for chunk in _chunks(self._accounts_in_redis()):
            with self._database.begin() as db:
                found = set(db.scalars(select(User.id).where(User.id.in_(chunk))))
                settled = set(
                    db.scalars(
                        select(DeletedAccount.user_id).where(DeletedAccount.user_id.in_(chunk))
                    )
                )
            known += len(found)
            missing |= set(chunk) - found - settled
        if missing and not known:
            return None
        for chunk in _chunks(missing):
            with self._database.begin() as db:
                _note(db, chunk)
        self.settle_due()
        return len(missing)

    def _accounts_in_redis(self) -> Iterator[UUID]:
        """Members with a cached weight, and those with a place on an open board."""
        names: Iterable[str] = self._redis.scan_iter(f"{keys.USER_WEIGHT_PREFIX}*", count=_CHUNK)
        yield from filter(None, (_parsed(name.rpartition(":")[2]) for name in names))
        for session_id in self._open_sessions():
            places = self._redis.zscan_iter(keys.ranking(session_id), count=_CHUNK)
            yield from filter(
                None, (_parsed(scoring.member_user_id(member)) for member, _ in places)
            )

    def _pseudonymise(self, db: Session, user: User, password_hash: str) -> None:
        pseudonym = f"deleted-{token_hex(8)}"
        names = {"user_id": user.id, "username": user.username, "pseudonym": pseudonym}
        user.username = user.username_key = pseudonym
        user.email = user.email_key = f"{pseudonym}@deleted.invalid"
        user.password_hash = password_hash
        user.is_admin = False
        user.weight = NEW_MEMBER_WEIGHT
        user.email_news = False
        user.erased_at = datetime.now(UTC)
        user.disabled_at = user.disabled_at or user.erased_at
        db.execute(_CANCEL_EMAILS, {"user_id": user.id})
        db.execute(delete(Reminder).where(Reminder.user_id == user.id))
        db.execute(_RENAME_IN_ACTIONS, names)

    def _settle_one(self, user_id: UUID) -> bool:
        try:
            self._settle(user_id)
        except (RedisUnreachable, RedisSilent):
            raise
        except Exception:
            log.exception("account_not_settled", user_id=str(user_id))
            return False
        return True

    def _settle(self, user_id: UUID) -> None:
        """Make Redis refuse the account's tokens, and forget its weight and its name."""
        self._revocations.disable(user_id)
        self._redis.unlink(keys.user_weight(user_id))
        for session_id in self._open_sessions_of(user_id):
            with self._database.begin() as db:
                # Waits for a load that may have read the old name.
                db.execute(
                    select(BiddingSession.id)
                    .where(BiddingSession.id == session_id)
                    .with_for_update(key_share=True)
                )
                self._rename(session_id, user_id)
        for session_id in self._ended_sessions(user_id):
            self._rename(session_id, user_id)
        self._forget_in_events(user_id)
        self._mark_settled(user_id)

    def _forget_in_events(self, user_id: UUID) -> None:
        """Take the name and the address out of messages to the shop that may be sent again."""
        with self._database.begin() as db:
            for event in db.scalars(
                select(ShopEvent)
                .join(Ranking, Ranking.session_id == ShopEvent.session_id)
                .where(
                    Ranking.user_id == user_id,
                    cast(ShopEvent.data, Text).contains(str(user_id)),
                )
                .with_for_update(of=ShopEvent)
            ):
                event.data = _nameless(event.data, str(user_id))

    def _rename(self, session_id: UUID, user_id: UUID) -> None:
        scripts.rename_bidder(
            self._redis, [keys.standing_bid(session_id, user_id)], [DELETED_MEMBER]
        )

    def _mark_settled(self, user_id: UUID) -> None:
        with self._database.begin() as db:
            db.execute(
                update(DeletedAccount)
                .where(DeletedAccount.user_id == user_id)
                .values(settled_at=func.now())
            )

    def _open_sessions(self) -> Sequence[UUID]:
        with self._database.begin() as db:
            return db.scalars(select(BiddingSession.id).where(BiddingSession.may_have_log())).all()

    def _open_sessions_of(self, user_id: UUID) -> Sequence[UUID]:
        """Those in which the member has bid, as far as PostgreSQL or Redis knows."""
        session_ids = self._open_sessions()
        with self._redis.pipeline(transaction=False) as pipeline:
            for session_id in session_ids:
                pipeline.exists(keys.standing_bid(session_id, user_id))
            stands = pipeline.execute()
        with self._database.begin() as db:
            stored = set(
                db.scalars(
                    select(Bid.session_id)
                    .where(Bid.user_id == user_id, Bid.session_id.in_(session_ids))
                    .distinct()
                )
            )
        return [
            session_id
            for session_id, is_standing in zip(session_ids, stands, strict=True)
            if is_standing or session_id in stored
        ]

    def _ended_sessions(self, user_id: UUID) -> Sequence[UUID]:
        """Those in whose results the member is: Redis may still have their keys."""
        with self._database.begin() as db:
            return db.scalars(select(Ranking.session_id).where(Ranking.user_id == user_id)).all()


def _nameless(part: Any, user_id: str) -> Any:
    """The part of a message without what names this member."""
    if isinstance(part, list):
        return [_nameless(each, user_id) for each in part]
    if not isinstance(part, dict):
        return part
    names = {"username": DELETED_MEMBER, "email": None} if part.get("user_id") == user_id else {}
    return {name: names.get(name, _nameless(value, user_id)) for name, value in part.items()}


def _note(db: Session, user_ids: Iterable[UUID]) -> None:
    """Order these accounts to be settled, whether or not they were before."""
    order = insert(DeletedAccount).values([{"user_id": user_id} for user_id in user_ids])
    db.execute(order.on_conflict_do_update(index_elements=["user_id"], set_={"settled_at": None}))


def _chunks(user_ids: Iterable[UUID]) -> Iterator[list[UUID]]:
    remaining = iter(user_ids)
    while chunk := list(islice(remaining, _CHUNK)):
        yield chunk


def _parsed(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None
