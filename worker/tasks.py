"""The jobs. Each takes ids, makes one core call, and may run twice without harm.

They retry outages, never refusals; what is lost all the same is found by the next
tick of beat.
"""

import time
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import structlog

from core import outages
from core.errors import TemporarilyUnavailable
from worker.celery_app import app, services, settings

log = structlog.get_logger(__name__)

DRAIN_SECONDS = 60.0
# Short, so that a stop does not have to wait long.
TELL_SECONDS = 10.0
DELIVER_SECONDS = 10.0

RETRY_OUTAGES: dict[str, Any] = {
    "autoretry_for": (*outages.ALL, TemporarilyUnavailable),
    "retry_backoff": True,
    "retry_backoff_max": 10,
    "retry_jitter": True,
    "max_retries": 5,
}


@app.task(**RETRY_OUTAGES)
def persist_bids(session_id: str) -> None:
    """Drain one session's bid log into PostgreSQL, after waiting for company.

    The wait is the group commit: bids that arrive during it share this job's
    transaction, and none of them schedules a job of its own.
    """
    time.sleep(settings().drain_gather_ms / 1000)
    drained = services().bid_log.drain(UUID(session_id), seconds=DRAIN_SECONDS)
    log.info("bids_persisted", session_id=session_id, rows=drained.rows)
    if drained.unfinished:
        persist_bids.delay(session_id)


@app.task
def sweep_bid_logs() -> None:
    """Drain every log that no scheduled drain will fetch: the sweep behind persist_bids."""
    for session_id in services().bid_log.claim_backlogged():
        log.info("bid_log_swept", session_id=str(session_id))
        persist_bids.delay(str(session_id))


@app.task
def tick_sessions() -> None:
    """Open what has started and enqueue the close of what is over."""
    services().sessions.open_due()
    for session_id in services().closing.due():
        if services().closing.claim(session_id):
            close_session.delay(str(session_id))


@app.task(**RETRY_OUTAGES)
def close_session(session_id: str) -> None:
    """Write a session's results; then its bidders are told, and their weights are due."""
    if services().closing.close(UUID(session_id)):
        tell_members.delay(session_id)
        recompute_weights.delay(session_id)


@app.task(**RETRY_OUTAGES)
def tell_members(session_id: str) -> None:
    """Tell a closed session's bidders how it ended."""
    told = services().announcing.announce(UUID(session_id), seconds=TELL_SECONDS)
    log.info("members_told", session_id=session_id, members=told.members)
    if told.unfinished:
        tell_members.delay(session_id)
    else:
        send_webhooks.delay()
        send_emails.delay()


@app.task
def sweep_announcements() -> None:
    """Tell the bidders of every session whose telling was lost: the sweep behind tell_members."""
    for session_id in services().announcing.unfinished():
        tell_members.delay(str(session_id))


@app.task(**RETRY_OUTAGES)
def send_webhooks() -> None:
    """Send what is due to the shop's system. Beat rings for it too: that is the sweep."""
    delivered = services().webhooks.deliver_due(seconds=DELIVER_SECONDS)
    if delivered.attempts:
        log.info("webhooks_sent", attempts=delivered.attempts)
    if delivered.unfinished:
        send_webhooks.delay()


@app.task(**RETRY_OUTAGES)
def send_emails() -> None:
    """Send the e-mails that are due. Beat rings for it too: that is the sweep."""
    delivered = services().mailer.deliver_due(seconds=DELIVER_SECONDS)
    if delivered.attempts:
        log.info("emails_sent", attempts=delivered.attempts)
    if delivered.unfinished:
        send_emails.delay()


@app.task(**RETRY_OUTAGES)
def recompute_weights(session_id: str) -> None:
    """Recompute the weights of an ended session's bidders."""
    members = services().weights.recompute_bidders_of(UUID(session_id), datetime.now(UTC))
    log.info("weights_recomputed", session_id=session_id, members=members)


@app.task
def sweep_weights() -> None:
    """Recompute what was lost on its way: the sweep behind recompute_weights."""
    for session_id in services().weights.claim_due():
        log.info("weights_swept", session_id=str(session_id))
        recompute_weights.delay(str(session_id))


@app.task(**RETRY_OUTAGES)
def recompute_all_weights() -> None:
    """Recompute everybody's weight: they fade with time, and a lost job is made good."""
    members = services().weights.recompute_all(datetime.now(UTC))
    log.info("weights_recomputed", members=members)


@app.task(**RETRY_OUTAGES)
def purge_revocations() -> None:
    """Forget logged-out tokens that have expired; let in whom only Redis still shuts out."""
    purged = services().revocations.purge_expired()
    let_in = services().membership.reenable_members()
    log.info("revocations_purged", tokens=purged, members=let_in)
