"""Web's side: answers `GET /ws/{session_id}` by handing its connection to the live process."""

import os
import socket
import time
from collections.abc import Iterable
from contextlib import suppress
from http import HTTPStatus
from typing import Any
from urllib.parse import quote

import structlog
from flask import Blueprint, Response, request
from websockets.datastructures import Headers
from websockets.http11 import Request
from websockets.server import ServerProtocol
from werkzeug.exceptions import BadRequest, NotFound

from core import errors
from web.live import handshake
from web.state import services

log = structlog.get_logger(__name__)

blueprint = Blueprint("live", __name__)

# Bids wait for this thread meanwhile: a live process in good health answers in a moment.
ANSWER_TIMEOUT_SECONDS = 0.5
# One that let a thread wait is not asked again for a while.
REST_SECONDS = 2.0

_HANDSHAKE_HEADERS = ("Host", "Upgrade", "Connection", "Sec-WebSocket-Key", "Sec-WebSocket-Version")
_AWAY = "Live updates cannot be had at the moment. Poll the leaderboard, or try again in a while."
_FULL = "Too many watch already. Poll the leaderboard, or try again in a while."


class HandedOver(Response):
    """The answer to a request whose connection is somebody else's now: none."""

    def __call__(self, *_: Any) -> Iterable[bytes]:
        # Gunicorn takes this as "close the connection, write nothing".
        raise StopIteration


class LiveProcess:
    """The live process as a web process sees it."""

    def __init__(self) -> None:
        self._rests_until = 0.0

    def take(self, path: str, handshake_request: bytes, client: socket.socket) -> None:
        """Hand a connection in. Raises TemporarilyUnavailable, and then it is still ours."""
        if time.monotonic() < self._rests_until:
            raise errors.TemporarilyUnavailable(_AWAY)
        with socket.socket(socket.AF_UNIX) as porter:
            porter.settimeout(ANSWER_TIMEOUT_SECONDS)
            try:
                porter.connect(path)
                socket.send_fds(porter, [handshake_request], [client.fileno()])
                answer = porter.recv(1)
            except OSError as error:
                self._note(error)
                raise errors.TemporarilyUnavailable(_AWAY) from None
            if answer != handshake.ROOM:
                raise errors.TemporarilyUnavailable(_FULL if answer == handshake.FULL else _AWAY)
            _let_go(client)
            # Should it have died by now, the browser sees a lost connection, and comes again.
            with suppress(OSError):
                porter.sendall(handshake.GO)

    def _note(self, error: OSError) -> None:
        log.warning("live_process_away", reason=type(error).__name__)
        if isinstance(error, TimeoutError):
            self._rests_until = time.monotonic() + REST_SECONDS


_live_process = LiveProcess()


@blueprint.get("/ws/<session_id>", websocket=True)
@blueprint.get("/ws/<session_id>")
def watch(session_id: str) -> HandedOver:
    """A WebSocket that shows a session's board as it changes."""
    if "Upgrade" not in request.headers:
        raise NotFound
    handshake_request = _checked_request(session_id)
    client = request.environ.get("gunicorn.socket")
    if client is None:  # Flask's own server, or tests
        raise errors.TemporarilyUnavailable(_AWAY)
    _live_process.take(services().settings.live_socket, handshake_request, client)
    return HandedOver()


def _checked_request(session_id: str) -> bytes:
    """The upgrade request, reduced to what the handshake needs and known to be a good one."""
    headers = Headers(
        (name, request.headers[name]) for name in _HANDSHAKE_HEADERS if name in request.headers
    )
    asked = Request(f"/ws/{quote(session_id, safe='')}", headers)
    text = asked.serialize()
    judged = ServerProtocol().accept(asked)
    if judged.status_code != HTTPStatus.SWITCHING_PROTOCOLS or len(text) > (
        handshake.MAX_REQUEST_BYTES
    ):
        raise BadRequest
    return text


def _let_go(client: socket.socket) -> None:
    """Give gunicorn an unconnected socket in the place of its own.

    It shuts down what it closes, and a shutdown reaches the connection itself, whoever
    else holds a descriptor of it.
    """
    with socket.socket() as unconnected:
        os.dup2(unconnected.fileno(), client.fileno(), inheritable=False)
