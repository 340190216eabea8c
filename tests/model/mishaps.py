"""Drains and closes that die at a given step, or are met by others in mid-batch."""

from collections.abc import Callable
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy.orm import Session

from core.bidlog.drain import Batch, BidLog
from core.bootstrap import Services
from core.sessions.closing import Closing


class Step(StrEnum):
    """Where a process is killed."""

    BEFORE_INSERT = "killed before the insert"
    BEFORE_COMMIT = "killed before the commit"
    BEFORE_TRIM = "killed before the trim"
    BEFORE_RESULTS = "killed before the results"
    BEFORE_PUBLISHING = "killed before publishing"


DRAIN_STEPS = (Step.BEFORE_INSERT, Step.BEFORE_COMMIT, Step.BEFORE_TRIM)


class Killed(Exception):
    """Nothing after this happened. The connection's end rolls its transaction back."""


class DyingBidLog(BidLog):
    def __init__(self, services: Services, step: Step, *, batch_size: int) -> None:
        super().__init__(services.database, services.redis, batch_size=batch_size)
        self._step = step

    def _persist_next(self, db: Session, session_id: UUID, offset: int) -> Batch:
        self._die_at(Step.BEFORE_INSERT)
        batch = super()._persist_next(db, session_id, offset)
        self._die_at(Step.BEFORE_COMMIT)
        return batch

    def _trim(self, session_id: UUID, handled_through: int) -> None:
        self._die_at(Step.BEFORE_TRIM)
        super()._trim(session_id, handled_through)

    def _die_at(self, step: Step) -> None:
        if step is self._step:
            raise Killed


class DyingClosing(Closing):
    def __init__(self, services: Services, step: Step) -> None:
        super().__init__(
            services.database,
            services.redis,
            DyingBidLog(services, step, batch_size=1000),
            services.loader,
            ended_keys_ttl_seconds=60,
            settle=services.closing._settle,
        )
        self._step = step

    def _write_results(self, session_id: UUID, last_sequence: int) -> bool:
        self._die_at(Step.BEFORE_RESULTS)
        return super()._write_results(session_id, last_sequence)

    def _publish(self, session_id: UUID) -> bool:
        self._die_at(Step.BEFORE_PUBLISHING)
        return super()._publish(session_id)

    def _die_at(self, step: Step) -> None:
        if step is self._step:
            raise Killed


class InterruptedBidLog(BidLog):
    """Lets other things happen between the insert and the commit of each batch."""

    def __init__(
        self, services: Services, meanwhile: Callable[[], Any], *, batch_size: int
    ) -> None:
        super().__init__(services.database, services.redis, batch_size=batch_size)
        self._meanwhile = meanwhile

    def _persist_next(self, db: Session, session_id: UUID, offset: int) -> Batch:
        batch = super()._persist_next(db, session_id, offset)
        self._meanwhile()
        return batch
