"""Accounts of members and admins: registration and login."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from secrets import token_hex, token_urlsafe
from uuid import UUID

import structlog
from argon2 import PasswordHasher
from redis import Redis
from sqlalchemy import exists, select, text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from core import errors, outages
from core.config.passwords import PasswordSettings
from core.members.naming import by_name, named, refusal_of
from core.members.password_policy import PasswordPolicy
from core.members.passwords import Passwords
from core.postgres.database import Database
from core.postgres.models import User
from core.redis import keys
from core.rules import identity
from core.rules.weighting import NEW_MEMBER_WEIGHT

log = structlog.get_logger(__name__)

# An arbitrary advisory lock id: it serialises concurrent first registrations.
_FIRST_ACCOUNT_LOCK = 4_275_002


@dataclass(frozen=True, slots=True)
class Account:
    """An account as its owner sees it."""

    user_id: UUID
    username: str
    email: str
    is_admin: bool
    weight: float
    created_at: datetime
    email_news: bool


class Accounts:
    """Creates and authenticates accounts. Passwords are stored as argon2id hashes only."""

    def __init__(
        self,
        database: Database,
        redis: Redis,
        *,
        first_account_is_admin: bool,
        policy: PasswordPolicy | None = None,
        hasher: PasswordHasher | None = None,
        max_wait_seconds: float = float("inf"),
    ) -> None:
        self._database = database
        self._redis = redis
        self._first_account_is_admin = first_account_is_admin
        self._policy = policy or PasswordPolicy(PasswordSettings())
        self._passwords = Passwords(hasher, max_wait_seconds=max_wait_seconds)

    def register(self, username: str, email: str, password: str) -> Account:
        """Create a member; the first account of an empty database becomes an admin.

        Raises WeakPassword, UsernameTaken or EmailTaken.
        """
        return self._create(username, email, password, force_admin=False)

    def create_admin(self, username: str, email: str, password: str) -> Account:
        """Create an admin; called by the command line only."""
        return self._create(username, email, password, force_admin=True)

    def seed(self, count: int) -> list[Account]:
        """Create members in bulk for load tests; none becomes an admin.

        All share the hash of one random, discarded password, so logging in is impossible.
        """
        password_hash = self.unusable_hash()
        batch = token_hex(4)
        names = [f"seeded-{batch}-{number:05d}" for number in range(1, count + 1)]
        users = [named(name, f"{name}@example.invalid", password_hash) for name in names]
        with self._database.begin() as db:
            db.add_all(users)
        self._cache_weights(users)
        log.info("members_seeded", count=count)
        return [_account(user) for user in users]

    def unusable_hash(self) -> str:
        """The hash of a random, discarded password."""
        return self._passwords.hash(token_urlsafe())

    def authenticate(self, username: str, password: str) -> Account:
        """The account with this name and password, each in any spelling.

        An unknown name costs one hash as well, so neither the text nor the timing of the
        answer reveals whether the name exists. Only the right password reveals that an
        account is disabled.
        """
        with self._database.begin() as db:
            user = db.scalar(by_name(username))
        spelling = self._matching_spelling(user, password)
        if user is None or spelling is None:
            raise errors.InvalidCredentials(user.username if user else None)
        if user.disabled_at is not None:
            raise errors.AccountDisabled(user.username)
        self._upgrade_hash(user, spelling)
        return _account(user)

    def get(self, user_id: UUID) -> Account:
        """The account behind a token."""
        with self._database.begin() as db:
            user = db.get(User, user_id)
        if user is None:
            raise errors.TokenInvalid
        return _account(user)

    def get_admin(self, user_id: UUID) -> Account:
        """The account behind a token. Raises AdminRequired unless it is an admin now."""
        account = self.get(user_id)
        if not account.is_admin:
            raise errors.AdminRequired
        return account

    def want_email_news(self, user_id: UUID, wanted: bool) -> Account:
        """Switch on or off that news beyond results and offers comes by e-mail, too."""
        with self._database.begin() as db:
            user = db.get(User, user_id)
            if user is None:
                raise errors.TokenInvalid
            user.email_news = wanted
        return _account(user)

    def _create(self, username: str, email: str, password: str, *, force_admin: bool) -> Account:
        self._policy.check(password, username=username, email=email)
        password_hash = self._passwords.hash(identity.canonical_password(password))
        user = named(username, email, password_hash)
        try:
            with self._database.begin() as db:
                user.is_admin = force_admin or (
                    self._first_account_is_admin and _is_first_account(db)
                )
                db.add(user)
                db.flush()
                db.refresh(user)
        except IntegrityError as error:
            raise refusal_of(error) from None
        self._cache_weights([user])
        log.info("account_created", user_id=str(user.id), is_admin=user.is_admin)
        return _account(user)

    def _cache_weights(self, users: Sequence[User]) -> None:
        """Spare new members' first bids a query. Best effort."""
        try:
            with self._redis.pipeline(transaction=False) as pipeline:
                for user in users:
                    pipeline.set(keys.user_weight(user.id), NEW_MEMBER_WEIGHT, nx=True)
                pipeline.execute()
        except outages.REDIS:
            log.warning("weights_not_cached", count=len(users))

    def _matching_spelling(self, user: User | None, password: str) -> str | None:
        """The spelling of the password that the account's hash was made of, if one was.

        An unknown account costs as many hashes as one with another password.
        """
        password_hash = user.password_hash if user else None
        for spelling in identity.password_spellings(password):
            if self._passwords.matches(password_hash, spelling):
                return spelling
        return None

    def _upgrade_hash(self, user: User, spelling: str) -> None:
        """Rehash when the parameters of new hashes have changed, or the hash was made of another
        spelling than the canonical one.
        """
        canonical = identity.canonical_password(spelling)
        if spelling == canonical and not self._passwords.is_outdated(user.password_hash):
            return
        password_hash = self._passwords.hash(canonical)
        with self._database.begin() as db:
            db.get_one(User, user.id).password_hash = password_hash


def require_account(db: Session, user_id: UUID) -> None:
    """Raises TokenInvalid if the account behind a token does not exist."""
    if db.scalar(select(User.id).where(User.id == user_id)) is None:
        raise errors.TokenInvalid


def _is_first_account(db: Session) -> bool:
    """Whether no account exists. Registrations are serialised only until one does."""
    anybody = select(exists().select_from(User))
    if db.scalar(anybody):
        return False
    db.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _FIRST_ACCOUNT_LOCK})
    return not db.scalar(anybody)


def _account(user: User) -> Account:
    return Account(
        user_id=user.id,
        username=user.username,
        email=user.email,
        is_admin=user.is_admin,
        weight=user.weight,
        created_at=user.created_at,
        email_news=user.email_news,
    )
