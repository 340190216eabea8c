"""Watchers as Locust users: WebSockets in the same statistics as the bids.

They cost a hundred times as much as those of `crowd`; use them for hundreds, not thousands.
"""

import time
from contextlib import closing
from urllib.parse import urlsplit

import gevent  # type: ignore[import-untyped]
from locust import User, task
from locust.exception import StopUser
from websocket import WebSocket, WebSocketException, create_connection

from loadtest.ledger.frames import Sightings, View
from loadtest.traffic.locust_state import locust_state

TIMEOUT_SECONDS = 15.0
# Detects dead idle connections.
PING_SECONDS = 10.0
RECONNECT_SECONDS = 1.0


class Spectator(User):
    """Watches the board, and reconnects after every loss. `fixed_count` is their number."""

    fixed_count = 0

    def on_start(self) -> None:
        if locust_state.sale is None or locust_state.sightings is None:
            raise StopUser
        self.sightings: Sightings = locust_state.sightings
        self.address = _address(self.host or "", f"/ws/{locust_state.sale.session_id}")
        self.view = View(self.sightings)
        self.has_connected = False

    @task
    def watch(self) -> None:
        """Open a connection and listen until it ends, unless the session has ended."""
        if self.view.session_has_ended:
            gevent.sleep(RECONNECT_SECONDS)
            return
        began = time.perf_counter()
        try:
            connection = create_connection(self.address, timeout=TIMEOUT_SECONDS)
        except (OSError, WebSocketException) as error:
            self.sightings.counts["refused"] += 1
            self._report("watch", (time.perf_counter() - began) * 1000, error)
        else:
            self._report("watch", (time.perf_counter() - began) * 1000)
            self.sightings.counts["reconnects"] += self.has_connected
            self.has_connected = True
            with closing(connection):
                self._listen(connection)
        gevent.sleep(RECONNECT_SECONDS)

    def _listen(self, connection: WebSocket) -> None:
        self.sightings.watching += 1
        connection.settimeout(PING_SECONDS + TIMEOUT_SECONDS)
        pinger = gevent.spawn(_ping, connection)
        try:
            while not self.view.session_has_ended:
                self._take(connection.recv())
        except (OSError, WebSocketException) as error:
            self.sightings.counts["lost"] += 1
            self._report("frame", 0.0, error)
        finally:
            pinger.kill()
            self.sightings.watching -= 1

    def _take(self, text: str | bytes) -> None:
        frame = text.encode() if isinstance(text, str) else text
        age_ms = self.view.see(frame)
        if age_ms is not None:
            self._report("frame", age_ms, length=len(frame))

    def _report(
        self, name: str, took_ms: float, error: Exception | None = None, length: int = 0
    ) -> None:
        """Add to Locust's statistics. A frame's time is its age on arrival."""
        self.environment.events.request.fire(
            request_type="WS",
            name=name,
            response_time=took_ms,
            response_length=length,
            exception=error,
            context={},
        )


def _ping(connection: WebSocket) -> None:
    while True:
        gevent.sleep(PING_SECONDS)
        connection.send("ping")


def _address(host: str, path: str) -> str:
    parts = urlsplit(host)
    scheme = "wss" if parts.scheme == "https" else "ws"
    return f"{scheme}://{parts.netloc}{parts.path.rstrip('/')}{path}"
