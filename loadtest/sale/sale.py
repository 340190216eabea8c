"""The session under test, with its times by this machine's clock."""

import time
from dataclasses import dataclass
from datetime import UTC, datetime

from loadtest.sale.api import Api
from loadtest.sale.plan import LoadPlan
from loadtest.sale.prices import PricingTerms

# Time for the generators to start and the members to gather before the session opens.
GATHERING_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class SaleSession:
    """One session. `start` and `end` are seconds since 1970 on this machine's clock; the
    server's clock is `ahead` of it by so many seconds.
    """

    session_id: str
    start: float
    end: float
    inventory: int
    terms: PricingTerms
    ahead: float = 0.0

    @property
    def elapsed(self) -> float:
        """Seconds since the session's start; negative before it."""
        return time.time() - self.start


def open_sale(api: Api, plan: LoadPlan) -> SaleSession:
    """Create a session that starts after GATHERING_SECONDS."""
    start = datetime.fromtimestamp(api.server_time() + GATHERING_SECONDS, UTC)
    session = api.call("POST", "/api/admin/sessions/combined", plan.terms(start.isoformat()))
    return join_sale(api, session["session_id"])


def join_sale(api: Api, session_id: str) -> SaleSession:
    """Read an existing session and convert its times to this machine's clock."""
    session = api.get(f"/api/sessions/{session_id}")
    ahead = _seconds_ahead(api, session_id)
    return SaleSession(
        session_id=session_id,
        start=_seconds(session["start_time"]) - ahead,
        end=_seconds(session["end_time"]) - ahead,
        inventory=session["inventory"],
        terms=PricingTerms(
            **{name: session[name] for name in ("upset_price", "alpha", "beta", "gamma")}
        ),
        ahead=ahead,
    )


def close_sale(api: Api, session_id: str) -> None:
    """End the session now."""
    api.call("PUT", f"/api/admin/sessions/{session_id}/close")


def _seconds_ahead(api: Api, session_id: str) -> float:
    """The server clock's lead, from the fastest of a few board requests."""
    measurements = [_measure_clock(api, session_id) for _ in range(3)]
    return min(measurements)[1]


def _measure_clock(api: Api, session_id: str) -> tuple[float, float]:
    asked = time.time()
    board = api.get(f"/api/leaderboard/{session_id}?page_size=1")
    took = time.time() - asked
    return took, _seconds(board["server_time"]) - (asked + took / 2)


def _seconds(moment: str) -> float:
    return datetime.fromisoformat(moment).timestamp()
