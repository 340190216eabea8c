"""The tasks. Each takes ids, makes one core call, and is safe to run twice.

Tasks retry outages, never refusals. Beat's sweeps find work that was lost anyway.
"""

import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import wraps
from typing import Any
from uuid import UUID

import structlog
from celery.exceptions import Ignore

from core import outages
from core.errors import TemporarilyUnavailable
from core.outages import reason_of
from core.postgres.keys import fill_keys
from worker.celery_app import app, services, settings

log = structlog.get_logger(__name__)

DRAIN_SECONDS = 60.0
# Short, so that workers stop quickly.
ANNOUNCE_SECONDS = 10.0
DELIVER_SECONDS = 10.0
FAN_OUT_SECONDS = 10.0
SWEEP_SECONDS = 10.0
PURGE_SECONDS = 120.0

RETRY_OUTAGES: dict[str, Any] = {
    "autoretry_for": (*outages.ALL, TemporarilyUnavailable),
    "retry_backoff": True,
    "retry_backoff_max": 10,
    "retry_jitter": True,
    "max_retries": 5,
}


def put_off_in_an_outage(sweep: Callable[[], None]) -> Callable[[], None]:
    """A sweep that an outage stops is no failed job: the next one does its work."""

    @wraps(sweep)
    def sweep_or_put_off() -> None:
        try:
            sweep()
        except outages.ALL as outage:
            log.warning("sweep_put_off", kind=type(outage).__name__, reason=reason_of(outage))
            raise Ignore from None

    return sweep_or_put_off


@app.task(**RETRY_OUTAGES)
def persist_bids(session_id: str) -> None:
    """Drain one session's bid log into PostgreSQL, after a wait that gathers bids.

    Bids that arrive during the wait share this job's transaction and schedule no further
    job: a group commit.
    """
    time.sleep(settings().drain_gather_ms / 1000)
    drained = services().bid_log.drain(UUID(session_id), seconds=DRAIN_SECONDS)
    log.info("bids_persisted", session_id=session_id, rows=drained.rows)
    if drained.unfinished:
        persist_bids.delay(session_id)


@app.task
@put_off_in_an_outage
def sweep_bid_logs() -> None:
    """Drain logs without a scheduled drain: the sweep behind persist_bids."""
    for session_id in services().bid_log.claim_backlogged():
        log.info("bid_log_swept", session_id=str(session_id))
        persist_bids.delay(str(session_id))


@app.task
@put_off_in_an_outage
def tick_sessions() -> None:
    """Open sessions that are due, and enqueue the close of ended and cancelled ones."""
    services().session_edits.align_gates()
    services().sessions.open_due()
    for session_id in services().closing.due():
        if services().closing.claim(session_id):
            close_session.delay(str(session_id))


@app.task(**RETRY_OUTAGES)
def close_session(session_id: str) -> None:
    """Write a session's results, then enqueue its notifications and weights."""
    if services().closing.close(UUID(session_id)):
        tell_members.delay(session_id)
        recompute_weights.delay(session_id)


@app.task(**RETRY_OUTAGES)
def tell_members(session_id: str) -> None:
    """Create notifications of the results for a closed session's bidders."""
    announced = services().announcing.announce(UUID(session_id), seconds=ANNOUNCE_SECONDS)
    log.info("members_told", session_id=session_id, members=announced.members)
    if announced.unfinished:
        tell_members.delay(session_id)
    else:
        fan_out_events.delay()
        send_emails.delay()


@app.task
@put_off_in_an_outage
def sweep_announcements() -> None:
    """Finish incomplete notifications: the sweep behind tell_members."""
    for session_id in services().announcing.unfinished():
        tell_members.delay(str(session_id))


@app.task
@put_off_in_an_outage
def fan_out_events() -> None:
    """Write the webhooks of new events. Beat schedules this every second."""
    if events := services().webhooks.fan_out(seconds=FAN_OUT_SECONDS):
        log.info("events_fanned_out", events=events)
        send_webhooks.delay()


@app.task(**RETRY_OUTAGES)
def send_webhooks() -> None:
    """Send due webhooks. Beat schedules this too, as the sweep."""
    delivered = services().webhooks.deliver_due(seconds=DELIVER_SECONDS)
    if delivered.attempts:
        log.info("webhooks_sent", attempts=delivered.attempts)
    if delivered.unfinished:
        send_webhooks.delay()


@app.task(**RETRY_OUTAGES)
def send_emails() -> None:
    """Send due e-mails. Beat schedules this too, as the sweep."""
    delivered = services().mailer.deliver_due(seconds=DELIVER_SECONDS)
    if delivered.attempts:
        log.info("emails_sent", attempts=delivered.attempts)
    if delivered.unfinished:
        send_emails.delay()


@app.task
@put_off_in_an_outage
def sweep_offers() -> None:
    """End offers whose time is over, and notify those who get their places."""
    swept = services().offers.sweep(seconds=SWEEP_SECONDS)
    if swept.expired:
        log.info("offers_expired", offers=swept.expired)
        send_emails.delay()
    if swept.unfinished:
        sweep_offers.delay()


@app.task
@put_off_in_an_outage
def tell_outbid() -> None:
    """Tell members who were winning that they no longer are."""
    if members := services().outbid.look(seconds=SWEEP_SECONDS):
        log.info("outbid_told", members=members)
        send_emails.delay()


@app.task
@put_off_in_an_outage
def tell_starting() -> None:
    """Tell members whose sessions start soon, and forget reminders of those that have started."""
    if members := services().reminders.tell_due(seconds=SWEEP_SECONDS):
        log.info("starting_told", members=members)
        send_emails.delay()


@app.task(**RETRY_OUTAGES)
def recompute_weights(session_id: str) -> None:
    """Recompute the weights of an ended session's bidders."""
    members = services().weights.recompute_bidders_of(UUID(session_id), datetime.now(UTC))
    log.info("weights_recomputed", session_id=session_id, members=members)


@app.task
@put_off_in_an_outage
def sweep_weights() -> None:
    """Recompute weights whose job was lost: the sweep behind recompute_weights."""
    for session_id in services().weights.claim_due():
        log.info("weights_swept", session_id=str(session_id))
        recompute_weights.delay(str(session_id))


@app.task(**RETRY_OUTAGES)
def recompute_all_weights() -> None:
    """Recompute all weights: they decay with time. Also makes up for lost jobs."""
    members = services().weights.recompute_all(datetime.now(UTC))
    log.info("weights_recomputed", members=members)


@app.task
def sweep_deleted_accounts() -> None:
    """Refuse the tokens of accounts that were deleted by hand, or whose erasure was killed."""
    if settled := services().erasure.settle_due():
        log.info("deleted_accounts_settled", accounts=settled)


@app.task(**RETRY_OUTAGES)
def purge_revocations() -> None:
    """Delete expired revocations, re-enable members whom only Redis still disables, and find
    accounts that only Redis still has.
    """
    purged = services().revocations.purge_expired()
    enabled = services().membership.reenable_members()
    missing = services().erasure.find_missing()
    log.info("revocations_purged", tokens=purged, members=enabled, missing_accounts=missing)


@app.task(**RETRY_OUTAGES)
def purge_responses() -> None:
    """Delete stored responses that no Idempotency-Key repeats any more."""
    log.info("responses_purged", responses=services().idempotency.purge())


@app.task(**RETRY_OUTAGES)
def purge_events() -> None:
    """Delete old events for the shop's systems whose deliveries have all ended."""
    log.info("events_purged", events=services().webhooks.purge_events(seconds=PURGE_SECONDS))


@app.task(**RETRY_OUTAGES)
def fill_account_keys() -> None:
    """Fill the keys of accounts that an older version registered during a deployment."""
    twins = fill_keys(services().engine)
    log.info("account_keys_filled", twins=len(twins))


@app.task(**RETRY_OUTAGES)
def make_export(export_id: str) -> None:
    """Write the file of a requested export."""
    if made := services().exports.make(UUID(export_id)):
        log.info("export_made", export_id=export_id, rows=made.rows, size_bytes=made.size_bytes)


@app.task
@put_off_in_an_outage
def sweep_exports() -> None:
    """Make exports whose job was lost: the sweep behind make_export."""
    for export_id in services().exports.claim_unfinished():
        make_export.delay(str(export_id))


@app.task(**RETRY_OUTAGES)
def purge_exports() -> None:
    """Delete expired exports, and files that killed jobs have left."""
    log.info("exports_purged", files=services().exports.purge())
