"""The queues. Each has a process type of its own in the Procfile (a test holds that),
so that a slow job of one kind never delays another kind, a close least of all.
"""

BIDS = "bids"
SESSIONS = "sessions"
DEFAULT = "default"

ALL = (BIDS, SESSIONS, DEFAULT)
