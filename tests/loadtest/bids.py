"""Attempts for tests."""

from typing import Any
from uuid import UUID

from loadtest.ledger.ledger import Attempt

USER = str(UUID(int=1))


def attempt(**fields: Any) -> Attempt:
    """An accepted bid, unless the fields say otherwise."""
    intended_at = fields.get("intended_at", 100.0)
    latency_ms = fields.get("latency_ms", 10.0)
    defaults: dict[str, Any] = {
        "user_id": USER,
        "price": "250.00",
        "intended_at": intended_at,
        "sent_at": intended_at,
        "latency_ms": latency_ms,
        "service_ms": latency_ms,
        "status": 200,
        "kind": "accepted",
    }
    return Attempt(**defaults | fields)
