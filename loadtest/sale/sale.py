"""The sale under test: its session, and its times by this machine's clock."""

import time
from dataclasses import dataclass
from datetime import UTC, datetime

from loadtest.sale.api import Api
from loadtest.sale.plan import Plan
from loadtest.sale.prices import Terms

# Time for the generators to start and the members to gather before the session opens.
GATHERING_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Sale:
    """One session. `start` and `end` are seconds since 1970 on this machine's clock, which
    the server's is `ahead` of by so many seconds.
    """

    session_id: str
    start: float
    end: float
    inventory: int
    terms: Terms
    ahead: float = 0.0

    @property
    def elapsed(self) -> float:
        """Seconds since the session's start; negative before it."""
        return time.time() - self.start


def open_sale(api: Api, plan: Plan) -> Sale:
    """Create a session that starts when the members have gathered."""
    start = datetime.fromtimestamp(api.server_time() + GATHERING_SECONDS, UTC)
    session = api.call("POST", "/api/admin/sessions/combined", plan.terms(start.isoformat()))
    return join_sale(api, session["session_id"])


def join_sale(api: Api, session_id: str) -> Sale:
    """A session that exists, with its times moved to this machine's clock."""
    session = api.get(f"/api/sessions/{session_id}")
    ahead = _server_is_ahead_by(api, session_id)
    return Sale(
        session_id=session_id,
        start=_seconds(session["start_time"]) - ahead,
        end=_seconds(session["end_time"]) - ahead,
        inventory=session["inventory"],
        terms=Terms(**{name: session[name] for name in ("upset_price", "alpha", "beta", "gamma")}),
        ahead=ahead,
    )


def close_sale(api: Api, session_id: str) -> None:
    """End the session now."""
    api.call("PUT", f"/api/admin/sessions/{session_id}/close")


def _server_is_ahead_by(api: Api, session_id: str) -> float:
    """Seconds, from the quickest of a few looks at the board, which tells the server's time."""
    looks = [_look(api, session_id) for _ in range(3)]
    return min(looks)[1]


def _look(api: Api, session_id: str) -> tuple[float, float]:
    asked = time.time()
    board = api.get(f"/api/leaderboard/{session_id}?page_size=1")
    took = time.time() - asked
    return took, _seconds(board["server_time"]) - (asked + took / 2)


def _seconds(moment: str) -> float:
    return datetime.fromisoformat(moment).timestamp()
