"""Sessions of which nothing is left to do."""

from sqlalchemy import text

from core.sessions.sessions import SessionView
from tests.support.factories import Shop

_SETTLE = (
    "UPDATE announcements SET finished_at = now() WHERE session_id = :session_id",
    "UPDATE shop_events SET delivered_at = now() WHERE session_id = :session_id",
    """UPDATE offers SET state = 'paid', settled_at = now()
        WHERE session_id = :session_id AND state = 'open'""",
)


def settle(shop: Shop, *sessions: SessionView) -> None:
    """Recompute weights, notify bidders and let winners pay, of sessions that are closed."""
    for session in sessions:
        shop.services.weights.recompute_bidders_of(session.session_id, session.end_time)
        with shop.services.engine.begin() as connection:
            for statement in map(text, _SETTLE):
                connection.execute(statement, {"session_id": session.session_id})
