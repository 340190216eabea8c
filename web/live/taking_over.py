"""The live process's side: takes over the connections that web processes hand in."""

import asyncio
import errno
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import structlog
from websockets.exceptions import WebSocketException
from websockets.frames import CloseCode
from websockets.protocol import State

from core import metrics
from web.live import handshake
from web.live.showing import Showing
from web.live.watcher import House, Watcher

log = structlog.get_logger(__name__)

_BACKLOG = 1024
# A web process that dies in the middle of handing in must not hold a place.
_HANDING_IN_TIMEOUT_SECONDS = 5.0
_STOP_TIMEOUT_SECONDS = 5.0
_FOR_THE_OWNER_ALONE = 0o177


class AlreadyRunning(Exception):
    """Another live process answers on this socket."""


@contextmanager
def listening(path: str) -> Iterator[socket.socket]:
    """The Unix socket where web processes hand connections in."""
    _clear_way(path)
    with socket.socket(socket.AF_UNIX) as listener:
        mask = os.umask(_FOR_THE_OWNER_ALONE)
        try:
            listener.bind(path)
        finally:
            os.umask(mask)
        listener.listen(_BACKLOG)
        listener.setblocking(False)
        try:
            yield listener
        finally:
            Path(path).unlink(missing_ok=True)


def _clear_way(path: str) -> None:
    """Remove the file of a process that was killed; one that answers is alive."""
    if Path(path).exists() and not Path(path).is_socket():
        raise OSError(errno.EEXIST, "there is something else")
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(path)
        except (FileNotFoundError, ConnectionRefusedError):
            Path(path).unlink(missing_ok=True)
        else:
            raise AlreadyRunning


class Reception:
    """Takes connections over and has them shown their board, `max_watchers` at a time."""

    def __init__(self, listener: socket.socket, showing: Showing, *, max_watchers: int) -> None:
        self._listener = listener
        self._showing = showing
        self._max_watchers = max_watchers
        self._places_taken = 0
        self._house = House()
        self._watchers: set[Watcher] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        metrics.WATCHERS.set_function(lambda: len(self._watchers))

    async def run(self) -> None:
        """Take over whoever is handed in, for ever."""
        loop = asyncio.get_running_loop()
        while True:
            porter, _ = await loop.sock_accept(self._listener)
            task = loop.create_task(self._serve(porter))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """Tell every watcher that the server is going away, and give them a moment to go."""
        self._house.is_open = False
        loop = asyncio.get_running_loop()
        closing = {
            loop.create_task(watcher.close(CloseCode.GOING_AWAY))
            for watcher in self._watchers
            if watcher.state is State.OPEN
        }
        if ending := closing | self._tasks:
            await asyncio.wait(ending, timeout=_STOP_TIMEOUT_SECONDS)

    async def _serve(self, porter: socket.socket) -> None:
        """One connection, from the moment it is handed in to its end."""
        handed_in = None
        with porter, suppress(OSError, TimeoutError):
            async with asyncio.timeout(_HANDING_IN_TIMEOUT_SECONDS):
                handed_in = await self._take_over(porter)
        if handed_in is not None:
            try:
                await self._attend(*handed_in)
            finally:
                self._places_taken -= 1

    async def _take_over(self, porter: socket.socket) -> tuple[socket.socket, bytes] | None:
        """The connection with its upgrade request; None when it stays with the web process."""
        loop = asyncio.get_running_loop()
        request, connection = await _receive(porter)
        has_place = self._places_taken < self._max_watchers
        self._places_taken += has_place
        is_ours = False
        try:
            await loop.sock_sendall(porter, handshake.ROOM if has_place else handshake.FULL)
            is_ours = has_place and await loop.sock_recv(porter, 1) == handshake.GO
        finally:
            if not is_ours:
                connection.close()
                self._places_taken -= has_place
        return (connection, request) if is_ours else None

    async def _attend(self, connection: socket.socket, request: bytes) -> None:
        watcher = Watcher(self._house)
        self._watchers.add(watcher)
        with suppress(OSError, TimeoutError, WebSocketException):
            if await watcher.open(connection, request):
                async with watcher:
                    await self._showing.show(watcher, watcher.session)
        self._watchers.discard(watcher)


async def _receive(porter: socket.socket) -> tuple[bytes, socket.socket]:
    """The upgrade request and its connection. They come in one message."""
    loop = asyncio.get_running_loop()
    has_come = asyncio.Event()
    loop.add_reader(porter, has_come.set)
    try:
        await has_come.wait()
    finally:
        loop.remove_reader(porter)
    request, descriptors, _, _ = socket.recv_fds(porter, handshake.MAX_REQUEST_BYTES, 1)
    if not descriptors:
        raise ConnectionError("nothing was handed in")
    return request, socket.socket(fileno=descriptors[0])
