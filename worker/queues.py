"""The queues. Each has its own process type in the Procfile (a test checks this), so that slow
jobs of one kind never delay another kind, above all closes.
"""

BIDS = "bids"
SESSIONS = "sessions"
DEFAULT = "default"
# Calls to external servers: a dead one must only delay its own deliveries.
EMAILS = "emails"
WEBHOOKS = "webhooks"
# Large files.
EXPORTS = "exports"

ALL = (BIDS, SESSIONS, DEFAULT, EMAILS, WEBHOOKS, EXPORTS)

# All other tasks use DEFAULT.
ROUTES = {
    "worker.tasks.persist_bids": BIDS,
    "worker.tasks.sweep_bid_logs": BIDS,
    "worker.tasks.tick_sessions": SESSIONS,
    "worker.tasks.close_session": SESSIONS,
    "worker.tasks.send_emails": EMAILS,
    "worker.tasks.send_webhooks": WEBHOOKS,
    "worker.tasks.make_export": EXPORTS,
    "worker.tasks.purge_exports": EXPORTS,
}
