"""A small HTTP load generator: raw kept-alive sockets and prepared bytes.

Used where wrk is not installed, and for fixed rates. Reads its plan as JSON from
standard input and writes what it saw as JSON: `python -m dev.bench.generators.sockets`.

Without a rate each connection sends as soon as it is answered. With one, requests are
due at fixed moments and a latency counts from the moment its request was due: a server
that stalls is charged for everybody who had to wait.
"""

import json
import selectors
import socket
import sys
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from itertools import cycle
from pathlib import Path

# How long answers are waited for after the last request was sent.
GRACE_SECONDS = 10.0
# How late a request is still sent that was due in time. None is on its way when time is up.
LATE_SECONDS = 5.0
READ_BYTES = 65536
END_OF_HEAD = b"\r\n\r\n"


@dataclass(frozen=True, slots=True)
class Plan:
    """What to send, where, and for how long.

    POSTs carry a token, one of the sessions in turn, and a price; `first_cents` and every
    `step`th price after it, so that several processes never send the same. Without a
    `tokens_path` it is a plain GET. `headers` are lines of headers beside those it needs.
    """

    host: str
    port: int
    method: str
    path: str
    connections: int
    seconds: float
    rate: float | None = None
    tokens_path: str = ""
    session_ids: tuple[str, ...] = ()
    first_cents: int = 0
    step: int = 1
    headers: tuple[str, ...] = ()


@dataclass(slots=True)
class Tally:
    """What came back. `in_window` are good answers before sending stopped."""

    statuses: dict[str, int] = field(default_factory=dict)
    in_window: int = 0
    window_seconds: float = 0.0
    broken: int = 0
    latencies_ms: list[float] = field(default_factory=list)


class Connection:
    """One kept-alive connection with at most one request on its way."""

    def __init__(self, host: str, port: int) -> None:
        self.socket = socket.create_connection((host, port), timeout=GRACE_SECONDS)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.due_at = 0.0
        self._received = b""

    def fileno(self) -> int:
        return self.socket.fileno()

    def send(self, request: bytes, due_at: float) -> None:
        self.due_at = due_at
        self.socket.sendall(request)

    def read(self) -> str | None:
        """The status once the whole answer is here. Raises ConnectionError at its end."""
        chunk = self.socket.recv(READ_BYTES)
        if not chunk:
            raise ConnectionError("The server closed the connection.")
        self._received += chunk
        head, found, body = self._received.partition(END_OF_HEAD)
        if not found or len(body) < _content_length(head):
            return None
        self._received = b""
        return head[9:12].decode()


class Generator:
    """Runs one plan over its connections."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._tally = Tally()
        self._requests = _requests(plan)
        self._selector = selectors.DefaultSelector()
        self._free: deque[Connection] = deque()
        for _ in range(plan.connections):
            connection = Connection(plan.host, plan.port)
            self._selector.register(connection, selectors.EVENT_READ)
            self._free.append(connection)
        self._busy = 0
        self._start = time.perf_counter()
        self._stop_at = self._start + plan.seconds
        self._sent = 0

    def run(self) -> Tally:
        give_up_at = self._stop_at + GRACE_SECONDS
        while True:
            now = time.perf_counter()
            is_over = now >= self._stop_at + LATE_SECONDS
            next_at = now + 0.1 if is_over else self._send_due(now)
            if (now >= self._stop_at and not self._busy) or now >= give_up_at:
                break
            self._receive(max(0.0, next_at - now))
        self._tally.window_seconds = self._plan.seconds
        self._tally.broken += self._busy
        return self._tally

    def close(self) -> None:
        for key in list(self._selector.get_map().values()):
            assert isinstance(key.fileobj, Connection)  # noqa: S101 - only these are registered
            key.fileobj.socket.close()
        self._selector.close()

    def _send_due(self, now: float) -> float:
        """Send what is due; when to look again at the latest."""
        while self._free:
            due_at = self._due_at(now)
            if due_at >= self._stop_at:
                return now + 0.1
            if due_at > now:
                return due_at
            connection = self._free.popleft()
            connection.send(next(self._requests), due_at)
            self._sent += 1
            self._busy += 1
        return now + 0.1

    def _due_at(self, now: float) -> float:
        rate = self._plan.rate
        return now if rate is None else self._start + self._sent / rate

    def _receive(self, timeout: float) -> None:
        for key, _ in self._selector.select(timeout):
            connection = key.fileobj
            assert isinstance(connection, Connection)  # noqa: S101 - only these are registered
            try:
                status = connection.read()
            except ConnectionError:
                self._lose(connection)
                continue
            if status is not None:
                self._count(connection, status)

    def _count(self, connection: Connection, status: str) -> None:
        now = time.perf_counter()
        statuses = self._tally.statuses
        statuses[status] = statuses.get(status, 0) + 1
        if status == "200":
            self._tally.in_window += now <= self._stop_at
            if self._plan.rate is not None:
                self._tally.latencies_ms.append(1000 * (now - connection.due_at))
        self._busy -= 1
        self._free.append(connection)

    def _lose(self, connection: Connection) -> None:
        self._selector.unregister(connection)
        connection.socket.close()
        self._tally.broken += 1
        self._busy -= 1


def _requests(plan: Plan) -> Iterator[bytes]:
    start = f"{plan.method} {plan.path} HTTP/1.1\r\nHost: {plan.host}:{plan.port}\r\n"
    start += "".join(f"{line}\r\n" for line in plan.headers)
    if not plan.tokens_path:
        request = f"{start}\r\n".encode()
        while True:
            yield request
    tokens = Path(plan.tokens_path).read_text().split()
    heads = [
        f"{start}Authorization: Bearer {token}\r\nContent-Type: application/json\r\n".encode()
        for token in tokens
    ]
    cents = plan.first_cents
    for session_id in cycle(plan.session_ids):
        body = b'{"session_id":"%s","price":%.2f}' % (session_id.encode(), cents / 100)
        yield b"%sContent-Length: %d\r\n\r\n%s" % (heads[cents % len(heads)], len(body), body)
        cents += plan.step


def _content_length(head: bytes) -> int:
    at = head.lower().index(b"content-length:") + len(b"content-length:")
    return int(head[at:].split(b"\r\n", 1)[0])


def main() -> None:
    tally = Generator(Plan(**json.load(sys.stdin))).run()
    json.dump(asdict(tally), sys.stdout)


if __name__ == "__main__":
    main()
