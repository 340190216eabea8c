"""A small HTTP load generator: kept-alive connections and prepared bytes.

Used where wrk is not installed, and for fixed rates. Reads its plan as JSON from
standard input and writes what it saw as JSON: `python -m dev.bench.generators.sockets`.

Without a rate each connection sends as soon as it is answered. With one, requests are
due at fixed moments and a latency counts from the moment its request was due: a server
that stalls is charged for everybody who had to wait.
"""

import asyncio
import json
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from http import HTTPStatus
from itertools import cycle
from pathlib import Path

import uvloop

from loadtest.traffic.connection import Connection, Target

# How long answers are waited for.
GRACE_SECONDS = 10.0
# How late a request is still sent that was due in time. None is on its way when time is up.
LATE_SECONDS = 5.0


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


class Generator:
    """Runs one plan over its connections."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._tally = Tally(window_seconds=plan.seconds)
        self._requests = _requests(plan)
        self._taken = 0

    async def run(self) -> Tally:
        self._start = time.perf_counter()
        self._stop_at = self._start + self._plan.seconds
        await asyncio.gather(*(self._send_on() for _ in range(self._plan.connections)))
        return self._tally

    async def _send_on(self) -> None:
        """One connection: send what is due, until time is up or the connection breaks."""
        connection = Connection(Target(self._plan.host, self._plan.port), GRACE_SECONDS)
        while (due_at := self._next_due()) < self._stop_at:
            if (left := due_at - time.perf_counter()) > 0:
                await asyncio.sleep(left)
            if time.perf_counter() >= self._stop_at + LATE_SECONDS:
                break
            try:
                response = await connection.request(next(self._requests))
            except OSError:
                self._tally.broken += 1
                break
            self._count(response.status, due_at)
        connection.close()

    def _next_due(self) -> float:
        if self._plan.rate is None:
            return time.perf_counter()
        due_at = self._start + self._taken / self._plan.rate
        self._taken += 1
        return due_at

    def _count(self, status: int, due_at: float) -> None:
        now = time.perf_counter()
        statuses = self._tally.statuses
        statuses[str(status)] = statuses.get(str(status), 0) + 1
        if status == HTTPStatus.OK:
            self._tally.in_window += now <= self._stop_at
            if self._plan.rate is not None:
                self._tally.latencies_ms.append(1000 * (now - due_at))


def _requests(plan: Plan) -> Iterator[bytes]:
    start = Target(plan.host, plan.port).head(plan.method, plan.path)
    start += "".join(f"{line}\r\n" for line in plan.headers).encode()
    if not plan.tokens_path:
        while True:
            yield start + b"\r\n"
    heads = [
        b"%bAuthorization: Bearer %b\r\nContent-Type: application/json\r\n" % (start, token)
        for token in Path(plan.tokens_path).read_bytes().split()
    ]
    cents = plan.first_cents
    for session_id in cycle(plan.session_ids):
        body = b'{"session_id":"%s","price":%.2f}' % (session_id.encode(), cents / 100)
        yield b"%sContent-Length: %d\r\n\r\n%s" % (heads[cents % len(heads)], len(body), body)
        cents += plan.step


def main() -> None:
    tally = uvloop.run(Generator(Plan(**json.load(sys.stdin))).run())
    json.dump(asdict(tally), sys.stdout)


if __name__ == "__main__":
    main()
