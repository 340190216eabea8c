"""Watchers: thousands of WebSockets on one session's board, in a process of their own.

A frame is the board at its `server_time`, and so shows every bid accepted by then. Each
watcher's frames are noted as how long after that moment they came, and after which earlier
frame; `lags` makes of it how long a bid takes until it is seen.
"""

import asyncio
import re
import resource
import signal
import time
from collections import Counter
from contextlib import suppress
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from random import Random

from loadtest import ledger
from loadtest.api import Api
from loadtest.errors import LoadTestError
from loadtest.ledger import Busy, Ledger
from loadtest.sale import join_sale
from loadtest.websocket import Address, NotOpened, Socket, connect

SCRATCH_BYTES = 64 * 1024
# So many connect at the same time; a browser's crowd does not come in one instant either.
CONNECTING_AT_ONCE = 64
RECONNECT_SECONDS = (0.5, 1.5)
SAMPLE_SECONDS = 1.0
SPARE_DESCRIPTORS = 128
_SERVER_TIME = re.compile(rb'"server_time"\s*:\s*"([^"]+)"')
_ENDED = re.compile(rb'\{\s*"type"\s*:\s*"session_ended"')


def run(host: str, session_id: str, count: int, folder: Path) -> None:
    """Watch until everybody has seen the results, or until SIGTERM or SIGINT."""
    _allow_descriptors(count + SPARE_DESCRIPTORS)
    ahead = join_sale(Api(host), session_id).ahead
    path = ledger.ledger_path(folder, session_id)
    with Ledger(path, mode="watchers", session_id=session_id, plan=["--watchers", str(count)]) as b:
        asyncio.run(Crowd(Address.of(host, f"/ws/{session_id}"), count, ahead, b).run())


def _allow_descriptors(wanted: int) -> None:
    """Each watcher is an open file."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and wanted > hard:
        raise LoadTestError(
            f"This needs {wanted} open files, and the system allows {hard}: raise `ulimit -Hn`."
        )
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))


class Crowd:
    """Keeps `count` watchers connected, and notes what they see.

    `ahead` is by how many seconds the server's clock is ahead of this machine's.
    """

    def __init__(self, address: Address, count: int, ahead: float, book: Ledger) -> None:
        self._address, self._count, self._ahead, self._book = address, count, ahead, book
        self._scratch = bytearray(SCRATCH_BYTES)
        self._door = asyncio.Semaphore(CONNECTING_AT_ONCE)
        self._seen: dict[tuple[float, float], Counter[int]] = {}
        self._counts: Counter[str] = Counter()
        self._clock_start = time.time() - time.perf_counter()
        self.watching = 0

    async def run(self) -> None:
        """Until everybody has seen the end, or a signal comes."""
        loop = asyncio.get_running_loop()
        watchers = asyncio.gather(*(self._stay(Watcher(self, n)) for n in range(self._count)))
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, watchers.cancel)
        sampler = asyncio.create_task(self._sample())
        with suppress(asyncio.CancelledError):
            await watchers
        sampler.cancel()
        self._write_sample(0.0)

    def note(self, after: float, shown: float) -> None:
        """A watcher sees the board of the moment `shown`, and last saw that of `after`."""
        now = self._clock_start + time.perf_counter() + self._ahead
        delays = self._seen.setdefault((after, shown), Counter())
        delays[round((now - shown) * 1000)] += 1
        self._counts["frames"] += 1

    async def _stay(self, watcher: "Watcher") -> None:
        """One watcher: comes again after every loss, and leaves when it has seen the end."""
        while not watcher.has_seen_the_end:
            socket = await self._open(watcher)
            if socket:
                await self._watch(watcher, socket)
            if not watcher.has_seen_the_end:
                await asyncio.sleep(watcher.random.uniform(*RECONNECT_SECONDS))

    async def _open(self, watcher: "Watcher") -> Socket | None:
        async with self._door:
            try:
                socket = await connect(self._address, self._scratch, watcher.see)
            except NotOpened:
                self._counts["refused"] += 1
                return None
        self._counts["reconnects"] += watcher.was_here
        watcher.was_here = True
        return socket

    async def _watch(self, watcher: "Watcher", socket: Socket) -> None:
        watcher.socket = socket
        self.watching += 1
        try:
            if watcher.has_seen_the_end:
                socket.close()
            # A cancelled wait must leave the future to the connection.
            await asyncio.shield(socket.closed)
            self._counts["lost"] += not watcher.has_seen_the_end
        finally:
            self.watching -= 1
            socket.close()

    async def _sample(self) -> None:
        busy = Busy()
        while True:
            await asyncio.sleep(SAMPLE_SECONDS)
            self._write_sample(busy.share())

    def _write_sample(self, cpu: float) -> None:
        now = time.time()
        self._book.sample(at=now, members=0, in_flight=0, cpu=cpu)
        counts = {name: self._counts[name] for name in ledger.CROWD_COUNTS}
        self._book.crowd(at=now, watching=self.watching, **counts)
        for (after, shown), delays in self._seen.items():
            self._book.seen(after, shown, delays)
        self._seen.clear()
        self._counts.clear()


class Watcher:
    """What one watcher has seen so far."""

    def __init__(self, crowd: Crowd, number: int) -> None:
        self._crowd = crowd
        self._last = 0.0
        self.random = Random(number)
        self.was_here = self.has_seen_the_end = False
        self.socket: Socket | None = None

    def see(self, frame: bytes) -> None:
        """Note a frame, without reading more of it than needed."""
        if _ENDED.match(frame):
            self.has_seen_the_end = True
            if self.socket:
                self.socket.close()
        elif found := _SERVER_TIME.search(frame, max(0, frame.rfind(b'"server_time"'))):
            shown = _moment(found[1])
            if self._last:
                self._crowd.note(self._last, shown)
            self._last = shown


@lru_cache(maxsize=64)
def _moment(text: bytes) -> float:
    """Seconds since 1970. All watchers see the same few."""
    return datetime.fromisoformat(text.decode()).timestamp()
