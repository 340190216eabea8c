"""Fills the keys of accounts that were made without: by older versions, or by hand in SQL.

The keys are the canonical forms of username and address, and unique. Of several accounts with
one canonical form the first gets the key: admins first, then the oldest. The others are twins:
they keep working under their exact spelling, and are reported until one of them is renamed.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import Engine, Row, Text, Update, Uuid, cast, func, select, update
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import InstrumentedAttribute

from core.postgres.models import User
from core.rules import identity

_BATCH_ROWS = 1000
# An arbitrary advisory lock id: two that fill would lock the same rows in different orders.
_FILL_LOCK = 4_275_014


@dataclass(frozen=True, slots=True)
class Twin:
    """An account whose `field`, "username" or "email", has the canonical form of another's.

    The two may look the same. The other is an admin, or older.
    """

    field: str
    user_id: UUID
    username: str
    other_id: UUID
    other_username: str


@dataclass(frozen=True, slots=True)
class _Key:
    """A column, the one that it is made of, and how."""

    column: InstrumentedAttribute[str | None]
    source: InstrumentedAttribute[str]
    canonical: Callable[[str], str]


_KEYS = (
    _Key(User.username_key, User.username, identity.canonical_name),
    _Key(User.email_key, User.email, identity.canonical_email),
)


def fill_keys(engine: Engine) -> list[Twin]:
    """Fill the missing keys; returns the twins. Safe to run concurrently."""
    return [twin for key in _KEYS for twin in _fill(engine, key)]


def _fill(engine: Engine, key: _Key) -> list[Twin]:
    without = (
        select(User.id, User.username, key.source.label("spelled"))
        .where(key.column.is_(None))
        .order_by(User.is_admin.desc(), User.created_at, User.id)
    )
    twins: list[Twin] = []
    with engine.connect() as reader:
        rows = reader.execution_options(yield_per=_BATCH_ROWS).execute(without)
        for batch in rows.partitions():
            keyed = [(row, key.canonical(row.spelled)) for row in batch]
            twins += _give(engine, key, keyed)
    return twins


def _give(engine: Engine, key: _Key, keyed: list[tuple[Row[UUID, str, str], str]]) -> list[Twin]:
    """Give each key to its first account, unless another has it already; the others are twins."""
    firsts = {canonical: row.id for row, canonical in reversed(keyed)}
    try:
        with engine.begin() as connection:
            connection.execute(select(func.pg_advisory_xact_lock(_FILL_LOCK)))
            taken = connection.scalars(select(key.column).where(key.column.in_(firsts)))
            free = {canonical: firsts[canonical] for canonical in firsts.keys() - set(taken)}
            connection.execute(_update(key, free))
            owners = connection.execute(
                select(key.column, User.id, User.username).where(key.column.in_(firsts))
            )
            owner_of = {canonical: (user_id, name) for canonical, user_id, name in owners}
    except IntegrityError:
        # A registration took one of them meanwhile; it shows now.
        return _give(engine, key, keyed)
    return [
        Twin(key.source.key, row.id, row.username, *owner_of[canonical])
        for row, canonical in keyed
        # No owner: its account was renamed meanwhile.
        if canonical in owner_of and owner_of[canonical][0] != row.id
    ]


def _update(key: _Key, owners: Mapping[str, UUID]) -> Update:
    given = select(
        func.unnest(cast(list(owners.values()), ARRAY(Uuid))).label("id"),
        func.unnest(cast(list(owners), ARRAY(Text))).label("key"),
    ).subquery()
    return (
        update(User)
        .where(User.id == given.c.id, key.column.is_(None))
        .values({key.column: given.c.key})
    )
