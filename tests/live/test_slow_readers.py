"""What a watcher that stops reading costs the live process."""

import asyncio
import socket
from collections.abc import Awaitable, Callable

from websockets.frames import Frame, Opcode

from web.live.snapshot import Snapshot
from web.live.watcher import (
    FRAME_INTERVAL_SECONDS,
    MAX_BEHIND_SECONDS,
    PIECE_BYTES,
    House,
    Watcher,
)

FRAME_BYTES = 64 * 1024
# What ten thousand winners make, and more than the kernel takes for a browser that does not read.
WINNERS_BYTES = 1_400_000
HANDSHAKE = (
    b"GET /ws/a-session HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n"
    b"Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    b"Sec-WebSocket-Version: 13\r\n\r\n"
)
Use = Callable[[Watcher, socket.socket], Awaitable[None]]


def snapshot() -> Snapshot:
    return Snapshot(bytes(FRAME_BYTES), is_final=False)


def with_watcher(use: Use) -> None:
    """An open watcher, and its browser's end, which reads nothing by itself."""

    async def run() -> None:
        listener = socket.create_server(("127.0.0.1", 0))
        with listener, socket.create_connection(listener.getsockname()) as browser:
            watcher = Watcher(House())
            assert await watcher.open(listener.accept()[0], HANDSHAKE)
            await use(watcher, browser)
            watcher.transport.abort()
            await watcher.wait_closed()

    asyncio.run(run())


def test_a_slow_reader_is_kept_one_frame_and_then_dropped() -> None:
    async def stop_reading(watcher: Watcher, _: socket.socket) -> None:
        now, most = 0.0, 0
        while not watcher.transport.is_closing():
            assert now < 1000, "it must be dropped"
            frame = snapshot()
            if watcher.is_due(frame, now):
                watcher.show(frame, now)
            most = max(most, watcher.transport.get_write_buffer_size())
            now += FRAME_INTERVAL_SECONDS
            await asyncio.sleep(0)
        assert 0 < most <= PIECE_BYTES
        assert now > MAX_BEHIND_SECONDS
        await asyncio.sleep(0)
        assert watcher.transport.get_write_buffer_size() == 0

    with_watcher(stop_reading)


def test_without_the_bound_the_process_would_keep_every_frame() -> None:
    """The control: the kernel takes no more than its buffers hold."""

    async def stop_reading(watcher: Watcher, _: socket.socket) -> None:
        frames = 200
        for _ in range(frames):
            watcher.transport.write(snapshot().frames)
            await asyncio.sleep(0)
        assert watcher.transport.get_write_buffer_size() > frames * FRAME_BYTES / 2

    with_watcher(stop_reading)


def test_a_reader_gets_every_frame_and_stays() -> None:
    async def read(watcher: Watcher, browser: socket.socket) -> None:
        browser.setblocking(False)
        loop, got, now, frames = asyncio.get_running_loop(), 0, 0.0, 50
        for _ in range(frames):
            frame = snapshot()
            assert watcher.is_due(frame, now)
            watcher.show(frame, now)
            while watcher.transport.get_write_buffer_size():
                got += len(await loop.sock_recv(browser, FRAME_BYTES))
            now += FRAME_INTERVAL_SECONDS
        while got < frames * FRAME_BYTES:
            got += len(await loop.sock_recv(browser, FRAME_BYTES))
        assert not watcher.transport.is_closing()

    with_watcher(read)


def test_a_frame_with_all_winners_is_kept_once_for_everybody() -> None:
    async def stop_reading(watcher: Watcher, _: socket.socket) -> None:
        watcher.show(Snapshot(bytes(WINNERS_BYTES), is_final=True), 0.0)
        assert 0 < watcher.transport.get_write_buffer_size() <= PIECE_BYTES

    with_watcher(stop_reading)


def test_a_frame_in_pieces_arrives_whole_and_what_follows_it_behind_it() -> None:
    winners = Frame(Opcode.TEXT, b"w" * WINNERS_BYTES).serialize(mask=False)
    pong = Frame(Opcode.TEXT, b"pong").serialize(mask=False)

    async def read_late(watcher: Watcher, browser: socket.socket) -> None:
        browser.setblocking(False)
        loop, got = asyncio.get_running_loop(), b""
        while not got.endswith(b"\r\n\r\n"):
            got += await loop.sock_recv(browser, FRAME_BYTES)
        watcher.show(Snapshot(winners, is_final=True), 0.0)
        answering = asyncio.create_task(watcher.send("pong"))
        await asyncio.sleep(0)
        got = b""
        while len(got) < len(winners + pong):
            got += await loop.sock_recv(browser, FRAME_BYTES)
        assert got == winners + pong
        await answering

    with_watcher(read_late)
