"""Responses to creating requests that carry an `Idempotency-Key`, to be repeated.

Whoever creates something hands it to `store_response` before its transaction ends. The row is
part of that transaction: a crash leaves both or neither. Of two such requests at once the
primary key lets one commit; the other waits for it, and then creates nothing.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import asdict, dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, delete, func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from core import errors
from core.postgres.database import Database
from core.postgres.models import StoredResponse

LIFETIME = timedelta(hours=24)

Encode = Callable[[Any], bytes]


class AlreadyStored(errors.Refusal):
    """The same request was made at the same time, and has its response."""


@dataclass(frozen=True, slots=True)
class IdempotentRequest:
    """A creating request: who sent it, method and path, its key, and the hash of its body."""

    principal_id: UUID
    operation: str
    key: str
    body_hash: bytes


# Of the request that this thread handles, with the function that makes its response.
_current: ContextVar[tuple[IdempotentRequest, Encode] | None] = ContextVar("idempotent_request")


class Idempotency:
    """Finds stored responses, and lets them be stored."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def response_to(self, request: IdempotentRequest) -> bytes | None:
        """The stored response; None: the request is new. Raises IdempotencyKeyReused."""
        with self._database.begin() as db:
            stored = db.scalar(
                select(StoredResponse).where(
                    StoredResponse.principal_id == request.principal_id,
                    StoredResponse.operation == request.operation,
                    StoredResponse.key == request.key,
                    ~_is_over(),
                )
            )
        if stored is None:
            return None
        if stored.body_hash != request.body_hash:
            raise errors.IdempotencyKeyReused
        return stored.response

    @contextmanager
    def storing(self, request: IdempotentRequest, encode: Encode) -> Iterator[None]:
        """Within the block, `store_response` stores the response to this request."""
        reset = _current.set((request, encode))
        try:
            yield
        finally:
            _current.reset(reset)

    def purge(self) -> int:
        """Delete responses that are not repeated any more; returns how many."""
        with self._database.begin() as db:
            purged = delete(StoredResponse).where(_is_over()).returning(StoredResponse.key)
            return len(db.scalars(purged).all())


def store_response(db: Session, created: object) -> None:
    """Store the response that tells of `created`, if this request is to be repeatable.

    Call it last in the creating transaction. Raises AlreadyStored.
    """
    current = _current.get(None)
    if current is None:
        return
    request, encode = current
    row = {**asdict(request), "response": encode(created)}
    new = insert(StoredResponse).values(row)
    stored = db.scalar(
        new.on_conflict_do_update(
            constraint="pk_stored_responses",
            set_={**row, "created_at": func.clock_timestamp()},
            where=_is_over(),
        ).returning(StoredResponse.key)
    )
    if stored is None:
        raise AlreadyStored


def _is_over() -> ColumnElement[bool]:
    return StoredResponse.created_at <= func.clock_timestamp() - LIFETIME
