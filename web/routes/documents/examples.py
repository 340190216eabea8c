"""Examples for the OpenAPI and AsyncAPI documents: bodies, answers and errors of one sale.

Five cameras are sold from 200.00 on; Ada has bid 250.00 after twelve and a half seconds.
"""

import json
from decimal import Decimal
from typing import Any

from marshmallow import Schema, ValidationError
from marshmallow.fields import Field, List, Nested

from core import errors
from web.guards.problems import PROBLEMS, Problem, describe_error, problem_response
from web.guards.rate_limits import LimitState, TooManyRequests
from web.http import frames, schemas

_REQUEST_ID = "5a1f0c5e9d2b4f7f"
_USER = "0f8fad5b-d9cb-469f-a165-70867728950e"
_START, _END = "2030-01-31T18:00:00+00:00", "2030-01-31T19:00:00+00:00"
_BID_AT = "2030-01-31T18:00:12.500000+00:00"
_CLOSED_AT = "2030-01-31T19:00:01+00:00"
_DEGRADED = 503

# By the name of the field.
_VALUES: dict[str, Any] = {
    "accepted_at": _BID_AT,
    "action": "add_product_and_session",
    "action_id": 42,
    "active_sessions": 1,
    "actor": "ada",
    "actor_id": _USER,
    "allow_lower_bids": False,
    "alpha": 0.5,
    "appendfsync": "always",
    "appendonly": True,
    "attempts": 1,
    "backlog": "ok",
    "base_price": 200.0,
    "beta": 1000.0,
    "bids_accepted": 1271,
    "bids": 10000,
    "bids_persisted": 1270,
    "can_append": True,
    "bidders": 500,
    "cancel_reason": None,
    "cancelled_at": None,
    "channel": "email",
    "channels": {"email": True, "webhook": False},
    "closed_at": _CLOSED_AT,
    "confirming_replicas": 0,
    "created_at": _START,
    "currency": "EUR",
    "database": "ok",
    "delivered_at": _CLOSED_AT,
    "delivery_id": "8a7b1c1e-4f0d-4a55-9f0b-2d1f6b0c7a11",
    "description": "Mint, boxed.",
    "details": {"name": "Camera", "upset_price": "200"},
    "duration_minutes": 60.0,
    "disabled_endpoints": 0,
    "email": "ada@example.com",
    "email_news": True,
    "end_time": _END,
    "endpoint_id": "2f1d1a0e-6c0b-4d0e-9a57-0f7c6d1f8b21",
    "error": None,
    "event": "session.ended",
    "events": "session.ended",
    "expires_at": "2030-02-07T19:00:01+00:00",
    "expires_in": 3600,
    "export_id": "3d8a2f64-0c55-4d0a-8f25-6c9f4be0a9d2",
    "failing_since": None,
    "final_price": 250.0,
    "findings": "appendonly is no: a restart of Redis loses accepted bids.",
    "finished_at": _CLOSED_AT,
    "format": "csv",
    "gamma": 2.0,
    "given_up": 0,
    "hand_on": True,
    "highest_bid": 250.0,
    "highest_bid_losses": 7,
    "highest_price": 300.0,
    "id": "c9bf9e57-1685-4c89-bafb-ff5af830be8a",
    "image_url": "https://images.shop.example/camera.jpg",
    "inventory": 5,
    "is_active": True,
    "is_admin": False,
    "is_disabled": False,
    "is_erased": False,
    "is_on": True,
    "is_winner": True,
    "is_winning": True,
    "kind": "session_ended",
    "largest_weight": 2.0,
    "last_error": None,
    "maxmemory_policy": "noeviction",
    "late_share": 0.2,
    "lowest_price": 200.0,
    "loyalty_worth": 16.0,
    "message": "Your bid of 250.00 is accepted at rank 1.",
    "name": "Camera",
    "next_attempt_at": None,
    "notification_id": "6b8c9c60-3d0f-4b53-8e0a-7d7f3f1a9e55",
    "offer_id": "3f1d7c52-8a3e-4c58-9f1a-2b6f0e8d4c77",
    "offer_minutes": 1440.0,
    "offers_end": None,
    "only_if_better": True,
    "opened_at": _CLOSED_AT,
    "outcome": "done",
    "page": 1,
    "page_size": 50,
    "password": "a long phrase of mine",
    "pay_by": "2030-02-01T19:00:01+00:00",
    "paused": True,
    "persist_backlog": 1,
    "place": 1,
    "previous_secret_until": None,
    "price": 250.0,
    "price_to_pay": 250.0,
    "pricing": "pay_as_bid",
    "product_id": "c9bf9e57-1685-4c89-bafb-ff5af830be8a",
    "product_name": "Camera",
    "provisional": True,
    "rank": 1,
    "read_at": None,
    "reason": "The cameras arrived damaged.",
    "redis": "ok",
    "refused": 0,
    "replayed": False,
    "response_time": 12.5,
    "revenue_as_bid": 1250.0,
    "revenue_second_score": 1190.0,
    "row_count": 1,
    "runs": 20,
    "scope": "orders:write",
    "search": "cam",
    "score": 201.07407407407408,
    "second_price": 240.0,
    "secret": "whsec_…",
    "seed": 1,
    "sequence": 1,
    "server_time": "2030-01-31T18:00:12.700000+00:00",
    "session_id": "1b4e28ba-2fa1-41d2-883f-0016d3cca427",
    "sessions": {"active": 1, "ended": 3},
    "settings": {"CURRENCY": "EUR", "BID_RATE_PER_SECOND": 10.0},
    "settled_at": None,
    "sha256": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    "size_bytes": 96,
    "start_time": _START,
    "state": "open",
    "state_reason": None,
    "state_since": _START,
    "status": "active",
    "threshold_score": 201.07407407407408,
    "token": "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.…",
    "token_type": "Bearer",
    "total_bidders": 1,
    "total_bids": 1271,
    "total_count": 1,
    "total_pages": 1,
    "total_products": 4,
    "total_users": 2350,
    "total_winners": 1,
    "underbid_winners": 31,
    "upset_price": 200.0,
    "url": "https://shop.example/flashbid",
    "user_id": _USER,
    "user_weight": 1.0,
    "username": "ada",
    "version": 2,
    "versions": {"flashbid": "1.0", "python": "3.12.3", "postgresql": "16.4", "redis": "7.2.5"},
    "waiting": 0,
    "weight": 1.0,
    "winners": 100,
    "worth": 2.02,
}
# Where a schema's field means something else than its name does elsewhere.
_SPECIAL: dict[type[Schema], dict[str, Any]] = {
    schemas.Session: {"final_price": None},
    schemas.Export: {"kind": "results", "state": "done", "created_at": _CLOSED_AT},
    schemas.NewExport: {"kind": "results"},
    schemas.PlacedBid: {"status": "accepted"},
    schemas.Results: {"status": "ended"},
    frames.BoardUpdate: {"type": frames.BOARD_UPDATE},
    frames.SessionEnded: {"type": frames.SESSION_ENDED},
    frames.FinalResults: {"status": "ended"},
    schemas.EmailDelivery: {"status": "delivered", "created_at": _CLOSED_AT},
    schemas.WebhookEndpoint: {"state": "enabled"},
    schemas.WebhookDelivery: {"status": "delivered", "created_at": _CLOSED_AT},
    schemas.Notification: {
        "created_at": _CLOSED_AT,
        "message": "You won Camera: rank 1 with your bid of 250.00 EUR. You pay 250.00 EUR.",
    },
    schemas.RedisNode: {"version": "7.2.5"},
    schemas.NewSimulation: {"session_id": None},
    schemas.Health: {"status": "healthy", "persist_backlog": "ok"},
    schemas.Readiness: {"status": "ready"},
}
# Fields that a body shows where not all can be sent together.
_SHOWN: dict[type[Schema], tuple[str, ...]] = {
    schemas.SessionChanges: ("version", "name", "description"),
}
_WHEN_DEGRADED: dict[type[Schema], dict[str, Any]] = {
    schemas.Health: {"status": "degraded", "database": "unreachable"},
    schemas.Readiness: {"status": "not_ready", "redis": "unreachable"},
}
TEXTS = {
    "text/csv": f"rank,user_id,username,price\n1,{_USER},ada,250.00\n",
    "application/x-ndjson": f'{{"rank":1,"user_id":"{_USER}","username":"ada","price":250.00}}\n',
}
METRICS = """\
# HELP flashbid_bids_total Responses to bids, by outcome.
# TYPE flashbid_bids_total counter
flashbid_bids_total{outcome="accepted",process="4711",role="web"} 1271.0
"""
# Errors whose texts depend on the request. Of those with the same code, the one to show.
_ERRORS: tuple[Exception, ...] = (
    ValidationError({"price": ["Must have at most 2 decimals."]}),
    errors.PriceBelowUpset(Decimal("200.00")),
    errors.PriceBelowStanding(Decimal("250.00")),
    errors.ScoreWouldDrop(198.5, 201.07407407407408),
    errors.ScopeMissing("orders:write"),
    errors.VersionConflict(3),
    TooManyRequests(LimitState("read", 0, 7)),
    errors.TemporarilyUnavailable(),
)


def value_of(name: str) -> Any:
    """The example of a field or parameter of this name."""
    return _VALUES[name]


def body_example(schema: Schema, status: int = 200) -> Any:
    """An example of a body or an answer; a list of one where the schema is of many."""
    kind = type(schema)
    special = _SPECIAL.get(kind, {})
    if status == _DEGRADED:
        special = special | _WHEN_DEGRADED.get(kind, {})
    example = {
        name: special[name] if name in special else _field_example(name, field)
        for name, field in schema.fields.items()
        if name in _SHOWN.get(kind, schema.fields)
    }
    return [example] if schema.many else example


def problem_example(problem: Problem) -> dict[str, Any]:
    """The body of a problem, as the service sends it."""
    kinds = (kind for kind, found in PROBLEMS.items() if found is problem)
    error = next((error for error in _ERRORS if PROBLEMS[type(error)] == problem), None)
    if error is None and problem.detail is None:
        error = next(kinds)()
    if error is None:
        response = problem_response(problem, _REQUEST_ID)
    else:
        response = describe_error(error, _REQUEST_ID)
    return dict(json.loads(response.body))


def _field_example(name: str, field: Field[Any]) -> Any:
    if isinstance(field, List):
        return [_field_example(name, field.inner)]
    return body_example(field.schema) if isinstance(field, Nested) else _VALUES[name]
