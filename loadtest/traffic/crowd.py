"""Watchers: thousands of WebSockets on one session's board, in a process of their own."""

import asyncio
import resource
import signal
import time
from contextlib import suppress
from pathlib import Path
from random import Random

from loadtest.errors import LoadTestError
from loadtest.ledger import ledger
from loadtest.ledger.frames import Sightings, View
from loadtest.ledger.ledger import CpuShare, Ledger
from loadtest.sale.api import Api
from loadtest.sale.sale import join_sale
from loadtest.traffic.listener import Address, Socket, UpgradeFailed, connect

SCRATCH_BYTES = 64 * 1024
# So many connect at the same time; a browser's crowd does not come in one instant either.
CONNECTING_AT_ONCE = 64
RECONNECT_SECONDS = (0.5, 1.5)
SAMPLE_SECONDS = 1.0
SPARE_DESCRIPTORS = 128


def run(host: str, session_id: str, count: int, folder: Path) -> None:
    """Watch until everybody has seen the results, or until SIGTERM or SIGINT."""
    _allow_descriptors(count + SPARE_DESCRIPTORS)
    sightings = Sightings(join_sale(Api(host), session_id).ahead)
    address = Address.of(host, f"/ws/{session_id}")
    path = ledger.ledger_path(folder, session_id)
    plan = ["--watchers", str(count)]
    with Ledger(path, mode="watchers", session_id=session_id, plan=plan) as book:
        asyncio.run(Crowd(address, count, sightings, book).run())


def _allow_descriptors(wanted: int) -> None:
    """Each watcher is an open file."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and wanted > hard:
        raise LoadTestError(
            f"This needs {wanted} open files, and the system allows {hard}: raise `ulimit -Hn`."
        )
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))


class Crowd:
    """Keeps `count` watchers connected, and notes what they see."""

    def __init__(self, address: Address, count: int, sightings: Sightings, book: Ledger) -> None:
        self._address, self._count, self._book = address, count, book
        self._sightings = sightings
        self._scratch = bytearray(SCRATCH_BYTES)
        self._door = asyncio.Semaphore(CONNECTING_AT_ONCE)

    async def run(self) -> None:
        """Until everybody has seen the end, or a signal comes."""
        loop = asyncio.get_running_loop()
        watchers = asyncio.gather(*(self._stay(Random(n)) for n in range(self._count)))
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, watchers.cancel)
        sampler = asyncio.create_task(self._sample())
        with suppress(asyncio.CancelledError):
            await watchers
        sampler.cancel()
        self._sightings.write(self._book)

    async def _stay(self, random: Random) -> None:
        """One watcher: comes again after every loss, and leaves when it has seen the end."""
        view = View(self._sightings)
        was_here = False
        while not view.session_has_ended:
            socket = await self._open(view)
            if socket:
                self._sightings.counts["reconnects"] += was_here
                was_here = True
                await self._watch(view, socket)
            if not view.session_has_ended:
                await asyncio.sleep(random.uniform(*RECONNECT_SECONDS))

    async def _open(self, view: View) -> Socket | None:
        def see(frame: bytes) -> bool:
            view.see(frame)
            return not view.session_has_ended

        async with self._door:
            try:
                return await connect(self._address, self._scratch, see)
            except UpgradeFailed:
                self._sightings.counts["refused"] += 1
                return None

    async def _watch(self, view: View, socket: Socket) -> None:
        self._sightings.watching += 1
        try:
            # A cancelled wait must leave the future to the connection.
            await asyncio.shield(socket.closed)
            self._sightings.counts["lost"] += not view.session_has_ended
        finally:
            self._sightings.watching -= 1
            socket.close()

    async def _sample(self) -> None:
        busy = CpuShare()
        while True:
            await asyncio.sleep(SAMPLE_SECONDS)
            self._book.sample(at=time.time(), members=0, in_flight=0, cpu=busy.share())
            self._sightings.write(self._book)
