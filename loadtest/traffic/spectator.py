"""Watchers as users of Locust: WebSockets beside the bids, in the same statistics.

They cost a hundred times what those of `crowd` do: for some hundreds, not for thousands.
"""

import time
from contextlib import closing
from urllib.parse import urlsplit

import gevent  # type: ignore[import-untyped]
from locust import User, task
from locust.exception import StopUser
from websocket import WebSocket, WebSocketException, create_connection

from loadtest.ledger.frames import Sightings, View
from loadtest.traffic.locust_state import ground

TIMEOUT_SECONDS = 15.0
# Often enough that a connection at rest is known to be alive.
PING_SECONDS = 10.0
RECONNECT_SECONDS = 1.0


class Spectator(User):
    """Watches the board, and comes again after every loss. `fixed_count` of them are there."""

    fixed_count = 0

    def on_start(self) -> None:
        if ground.sale is None or ground.sightings is None:
            raise StopUser
        self.sightings: Sightings = ground.sightings
        self.address = _address(self.host or "", f"/ws/{ground.sale.session_id}")
        self.view = View(self.sightings)
        self.was_here = False

    @task
    def watch(self) -> None:
        """One connection, from its beginning to its end; none when the end has been seen."""
        if self.view.has_seen_the_end:
            gevent.sleep(RECONNECT_SECONDS)
            return
        began = time.perf_counter()
        try:
            connection = create_connection(self.address, timeout=TIMEOUT_SECONDS)
        except (OSError, WebSocketException) as error:
            self.sightings.counts["refused"] += 1
            self._tell("watch", (time.perf_counter() - began) * 1000, error)
        else:
            self._tell("watch", (time.perf_counter() - began) * 1000)
            self.sightings.counts["reconnects"] += self.was_here
            self.was_here = True
            with closing(connection):
                self._listen(connection)
        gevent.sleep(RECONNECT_SECONDS)

    def _listen(self, connection: WebSocket) -> None:
        self.sightings.watching += 1
        connection.settimeout(PING_SECONDS + TIMEOUT_SECONDS)
        pinger = gevent.spawn(_ping, connection)
        try:
            while not self.view.has_seen_the_end:
                self._take(connection.recv())
        except (OSError, WebSocketException) as error:
            self.sightings.counts["lost"] += 1
            self._tell("frame", 0.0, error)
        finally:
            pinger.kill()
            self.sightings.watching -= 1

    def _take(self, text: str | bytes) -> None:
        frame = text.encode() if isinstance(text, str) else text
        age_ms = self.view.see(frame)
        if age_ms is not None:
            self._tell("frame", age_ms, length=len(frame))

    def _tell(
        self, name: str, took_ms: float, error: Exception | None = None, length: int = 0
    ) -> None:
        """A line of Locust's statistics. A frame's time is its age when it comes."""
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
