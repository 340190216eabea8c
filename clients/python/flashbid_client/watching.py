"""Watches a board over its WebSocket."""

import random
import time
from collections.abc import Iterator

import msgspec
from websockets.exceptions import ConnectionClosed, InvalidHandshake
from websockets.sync.client import connect

from flashbid_client.models import Board, FinalResults

NO_SUCH_SESSION = 4404
RECONNECT_SECONDS = (1.0, 3.0)


class _Frame(msgspec.Struct):
    type: str
    data: msgspec.Raw


class SessionGone(Exception):
    """The service knows no such session."""


def frames(url: str) -> Iterator[Board | FinalResults]:
    """What comes, over as many connections as it takes, until the results or a cancellation.

    Raises SessionGone.
    """
    while True:
        try:
            with connect(url) as socket:
                for text in socket:
                    frame = _parsed(text)
                    if frame is None:
                        continue
                    yield frame
                    if _is_last(frame):
                        return
        except ConnectionClosed as closed:
            if closed.rcvd and closed.rcvd.code == NO_SUCH_SESSION:
                raise SessionGone from closed
        except (OSError, InvalidHandshake):
            pass
        time.sleep(random.uniform(*RECONNECT_SECONDS))  # noqa: S311 - spread, not secret


def _parsed(text: str | bytes) -> Board | FinalResults | None:
    """None: a message of a later version."""
    frame = msgspec.json.decode(text, type=_Frame)
    if frame.type == "leaderboard_update":
        return msgspec.json.decode(frame.data, type=Board)
    if frame.type == "session_ended":
        return msgspec.json.decode(frame.data, type=FinalResults)
    return None


def _is_last(frame: Board | FinalResults) -> bool:
    return isinstance(frame, FinalResults) or frame.status == "cancelled"
