"""The address of the live board, for requests that are no WebSocket handshake.

Handshakes never get here: web/front/sockets.py serves them.
"""

from typing import NoReturn

from flask import Blueprint

from web.guards.operation import Operation
from web.guards.rate_limits import Limit
from web.guards.tokens import Auth
from web.http.requests import UpgradeRequired

blueprint = Blueprint("live", __name__)


def watch(**_: str) -> NoReturn:
    """Watch a session's board over a WebSocket.

    Open it with a WebSocket library: any other request gets 426 `upgrade_required`. Once open it
    sends text frames: `{"type": "leaderboard_update", "data": …}` with the board's first page, at
    once and then at most five times a second while it changes, and `{"type": "session_ended",
    "data": …}` with the final results and their winners. A text `ping` is answered with `pong`.

    It closes with 4404 (unknown session), 1009 (too many or too long messages), 1012 (the process
    stops) or 1013 (unavailable, try again later). `/asyncapi.json` describes all of it.
    """
    raise UpgradeRequired


watch.operation = Operation(  # type: ignore[attr-defined]
    auth=Auth.PUBLIC, status=101, limit=Limit.NONE, refuses=(UpgradeRequired,)
)
blueprint.get("/ws/<session_id>")(watch)
