"""API keys: a program's own right to call some admin routes, for an admin who owns it.

A key is `fbk_`, its id, and 32 random bytes, of which only the SHA-256 is stored: they are
random, so a slow hash would add nothing. It never has more rights than its owner has now.
"""

import re
from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from hashlib import sha256
from hmac import compare_digest
from secrets import token_urlsafe
from uuid import UUID

import structlog
from sqlalchemy import ColumnElement, Row, Select, func, or_, select, update
from sqlalchemy.orm import Session

from core import errors, outages
from core.members.naming import by_name
from core.postgres.database import Database
from core.postgres.models import ApiKey, User

log = structlog.get_logger(__name__)

PREFIX = "fbk_"
_SECRET_BYTES = 32
_WRITTEN = re.compile(rf"{PREFIX}([0-9a-f]{{32}})_([\w-]{{43}})", re.ASCII)
_LAST_USED_EVERY = timedelta(minutes=1)


class Scope(StrEnum):
    """What a key may be allowed to do."""

    ORDERS_READ = "orders:read"
    ORDERS_WRITE = "orders:write"
    SALES_WRITE = "sales:write"
    MEMBERS_READ = "members:read"


@dataclass(frozen=True, slots=True)
class KeyHolder:
    """The key behind a request, and the admin for whom it acts."""

    key_id: UUID
    name: str
    owner_id: UUID


@dataclass(frozen=True, slots=True)
class KeyView:
    """A key as operators see it. `owner` None: the account is gone."""

    key_id: UUID
    name: str
    owner: str | None
    scopes: tuple[str, ...]
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    last_used_at: datetime | None


class ApiKeys:
    """Creates, checks and revokes keys."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def create(
        self,
        name: str,
        scopes: Collection[Scope],
        *,
        owner: str | None = None,
        expires_at: datetime | None = None,
    ) -> tuple[str, KeyView]:
        """A new key as text, which nobody can read again, and what is known of it.

        `owner` None: the only admin. Raises AccountNotFound or AdminRequired.
        """
        secret = token_urlsafe(_SECRET_BYTES)
        with self._database.begin() as db:
            admin = _admin(db, owner)
            key = ApiKey(
                name=name,
                owner_id=admin.id,
                secret_hash=_hash(secret),
                scopes=sorted(scopes),
                expires_at=expires_at,
            )
            db.add(key)
            db.flush()
            db.refresh(key)
        log.info("api_key_created", key_id=str(key.id), owner_id=str(admin.id))
        return f"{PREFIX}{key.id.hex}_{secret}", _view(key, admin.username)

    def list(self) -> Sequence[KeyView]:
        """All keys, newest first, also those that are refused."""
        with self._database.begin() as db:
            rows = db.execute(
                select(ApiKey, User.username)
                .outerjoin(User, User.id == ApiKey.owner_id)
                .order_by(ApiKey.created_at.desc(), ApiKey.id)
            )
            return [_view(key, owner) for key, owner in rows]

    def revoke(self, key_id: UUID) -> str | None:
        """Refuse the key from now on; its name, None if there is no such key. Safe to repeat."""
        with self._database.begin() as db:
            key = db.get(ApiKey, key_id, with_for_update=True)
            if key is None:
                return None
            key.revoked_at = key.revoked_at or db.scalar(select(func.clock_timestamp()))
        log.info("api_key_revoked", key_id=str(key_id))
        return key.name

    def authenticate(self, written: str, scope: str) -> KeyHolder:
        """The holder of a key that has the scope and whose owner is an admin now.

        Raises TokenInvalid, TokenRevoked, TokenExpired, AccountDisabled, AdminRequired or
        ScopeMissing.
        """
        key_id, secret = _parsed(written)
        with self._database.begin() as db:
            found = db.execute(_with_owner(key_id)).one_or_none()
        if found is None or not compare_digest(found.ApiKey.secret_hash, _hash(secret)):
            raise _invalid()
        _require_in_force(found)
        if scope not in found.ApiKey.scopes:
            raise errors.ScopeMissing(scope)
        if found.is_use_due:
            self._note_use(key_id)
        return KeyHolder(key_id, found.ApiKey.name, found.ApiKey.owner_id)

    def _note_use(self, key_id: UUID) -> None:
        """Best effort: a read must not fail because the database is read-only."""
        with suppress(*outages.DATABASE), self._database.begin() as db:
            db.execute(
                update(ApiKey)
                .where(ApiKey.id == key_id, _is_use_due())
                .values(last_used_at=func.clock_timestamp())
            )


def _hash(secret: str) -> bytes:
    return sha256(secret.encode()).digest()


def _invalid() -> errors.TokenInvalid:
    return errors.TokenInvalid("UnknownApiKey", detail="This API key is not valid.")


def _parsed(written: str) -> tuple[UUID, str]:
    match = _WRITTEN.fullmatch(written)
    if match is None:
        raise _invalid()
    return UUID(match[1]), match[2]


def _with_owner(key_id: UUID) -> Select[ApiKey, User, bool, bool]:
    """The key, its owner, and what PostgreSQL's clock says of it."""
    return (
        select(
            ApiKey,
            User,
            (ApiKey.expires_at <= func.clock_timestamp()).label("is_expired"),
            _is_use_due().label("is_use_due"),
        )
        .outerjoin(User, User.id == ApiKey.owner_id)
        .where(ApiKey.id == key_id)
    )


def _is_use_due() -> ColumnElement[bool]:
    return or_(
        ApiKey.last_used_at.is_(None),
        ApiKey.last_used_at <= func.clock_timestamp() - _LAST_USED_EVERY,
    )


def _require_in_force(found: Row[ApiKey, User, bool, bool]) -> None:
    """Raises the reason why the key is refused, whatever its scopes."""
    if found.ApiKey.revoked_at is not None:
        raise errors.TokenRevoked("This API key was revoked.")
    if found.is_expired:
        raise errors.TokenExpired("This API key has expired.")
    if found.User is None:
        raise _invalid()
    if found.User.disabled_at is not None:
        raise errors.AccountDisabled
    if not found.User.is_admin:
        raise errors.AdminRequired("The owner of this API key is no longer an admin.")


def _admin(db: Session, name: str | None) -> User:
    """The admin of this name; without a name the only one."""
    if name is not None:
        user = db.scalar(by_name(name))
        if user is None:
            raise errors.AccountNotFound(name)
        if not user.is_admin:
            raise errors.AdminRequired(f"{user.username} is no admin, so a key could do nothing.")
        return user
    admins = db.scalars(select(User).where(User.is_admin).limit(2)).all()
    if len(admins) != 1:
        raise errors.AdminRequired("Name the admin for whom the key acts: there is not just one.")
    return admins[0]


def _view(key: ApiKey, owner: str | None) -> KeyView:
    return KeyView(
        key_id=key.id,
        name=key.name,
        owner=owner,
        scopes=tuple(key.scopes),
        created_at=key.created_at,
        expires_at=key.expires_at,
        revoked_at=key.revoked_at,
        last_used_at=key.last_used_at,
    )
