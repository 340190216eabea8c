"""The queues. Each has a process type of its own in the Procfile (a test holds that),
so that a slow job of one kind never delays another kind, a close least of all.
"""

BIDS = "bids"
SESSIONS = "sessions"
DEFAULT = "default"
# Other people's servers: a dead one may hold up nothing but its own deliveries.
DELIVERIES = "deliveries"

ALL = (BIDS, SESSIONS, DEFAULT, DELIVERIES)

# What is not named here is not urgent.
ROUTES = {
    "worker.tasks.persist_bids": BIDS,
    "worker.tasks.sweep_bid_logs": BIDS,
    "worker.tasks.tick_sessions": SESSIONS,
    "worker.tasks.close_session": SESSIONS,
    "worker.tasks.send_emails": DELIVERIES,
    "worker.tasks.send_webhooks": DELIVERIES,
}
