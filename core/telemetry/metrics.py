"""The metrics that processes count. `make docs` makes a page of them.

Gauges read from the servers are in core/operations/gauges.py. Each process publishes its
metrics in a file (core/telemetry/metric_files.py); web's /metrics exports all files.
"""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector

from core.telemetry.fast_counter import LoopCounter, Tally

REGISTRY = CollectorRegistry()

# Seconds, from a call over loopback to a client's time-out.
_CALL_BOUNDS = (0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 5.0)
_JOB_BOUNDS = (0.005, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 300.0)
_BATCH_BOUNDS = (1, 2, 4, 8, 16, 32, 64)
_ROW_BOUNDS = (1, 10, 100, 500, 1000, 2000, 5000, 10_000, 50_000, 100_000)


def _counter(name: str, what: str, *labels: str) -> Counter:
    return Counter(f"flashbid_{name}", what, labels, registry=REGISTRY)


def _histogram(name: str, what: str, bounds: tuple[float, ...], *labels: str) -> Histogram:
    return Histogram(f"flashbid_{name}", what, labels, buckets=bounds, registry=REGISTRY)


BIDS = Tally("flashbid_bid", "Answers to bids", _CALL_BOUNDS, REGISTRY)
BOARD_LOOKS = Tally("flashbid_board_look", "Answered board pages", _CALL_BOUNDS, REGISTRY)
SCRIPT_CALLS = Tally(
    "flashbid_bid_script_call",
    "Replies of place_bids.lua to bids",
    _CALL_BOUNDS,
    REGISTRY,
)
BATCH_BIDS = _histogram(
    "bid_batch_bids",
    "Bids in each call of place_bids.lua: 1 while it is quiet, up to 64 in a flash.",
    _BATCH_BOUNDS,
)
BID_DOORS = LoopCounter(
    "flashbid_bid_doors",
    "Bids by entry point: the event loop's lane, or Flask's route, under gunicorn none",
    "door",
    ("lane", "flask"),
    REGISTRY,
)
REQUESTS = _counter(
    "http_requests", "Answers to all requests but bids and board pages.", "route", "status"
)
REQUEST_SECONDS = _histogram("http_request_seconds", "Duration of the same.", _CALL_BOUNDS, "route")
REFUSED_EARLY = _counter(
    "refused_early",
    "Requests shed because no thread would have been free in time; in none of the other counts.",
)
RATE_LIMIT_HITS = _counter("rate_limit_hits", "Requests refused by a rate limit.", "limit")

DRAIN_SECONDS = _histogram(
    "drain_batch_seconds", "Duration of a batch of the bid log.", _JOB_BOUNDS
)
DRAIN_ROWS = _histogram("drain_batch_rows", "Bids in a batch of the bid log.", _ROW_BOUNDS)
BIDS_PERSISTED = _counter("bids_persisted", "Bids written to PostgreSQL.")
SESSION_LOADS = _counter("session_loads", "Sessions loaded into Redis: first, or again.", "kind")
SESSION_EVENTS = _counter(
    "session_events", "Rows of session_events: losses, gaps and the rest.", "kind"
)
CLOSE_LAG_SECONDS = _histogram(
    "close_lag_seconds", "From a session's end until its results were final.", _JOB_BOUNDS
)

NOTIFICATIONS = _counter(
    "notifications", "Attempts to notify a member or the shop.", "channel", "outcome"
)
WATCHERS = Gauge("flashbid_watchers", "Open WebSockets.", registry=REGISTRY)

JOBS_SENT = _counter("jobs_sent", "Jobs handed to the broker.", "task")
JOBS = _counter("jobs", "Jobs that ended.", "task", "outcome")
JOB_SECONDS = _histogram("job_seconds", "Duration of a job.", _JOB_BOUNDS, "task")

ProcessCollector(registry=REGISTRY)
