"""What a watcher costs the web process that stops reading, or has more to say than to watch."""

import asyncio
import struct
from typing import Any

import pytest
from websockets.frames import Frame, Opcode

from tests.live.serving import HANDSHAKE, PING, PONG, Serving, run, serving, stay, until
from web.front import connections as bounds
from web.front import sockets, websocket
from web.front.sockets import Snapshot, Watcher
from web.http.responses import encode

FRAGMENT_BYTES = 16 * 1024
FRAME_BYTES = 64 * 1024
# What ten thousand winners make, and more than the kernel takes for a browser that does not read.
WINNERS = "w" * 1_400_000
MEGABYTE = 1024 * 1024
# What a watcher may send, and the frames of six bytes in the piece that goes beyond.
MAX_READ_FRAMES = websocket.MAX_RECEIVED_FRAMES + 256 // 6 + 1


class Show:
    """Shows whatever the test wants to watchers who came, and answers their pings."""

    def __init__(self) -> None:
        self.watchers: list[Watcher] = []
        self.left = 0

    async def __call__(self, _scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        watcher = Watcher(send)
        self.watchers.append(watcher)
        await sockets._answer_pings(watcher, receive)
        watcher.stop()
        self.left += 1


def snapshot(text: str) -> Snapshot:
    return Snapshot(sockets._frames("leaderboard_update", encode(text)), is_final=False)


def close_frame(code: int) -> bytes:
    return bytes([0x88]), struct.pack("!H", code)


def closes_with(code: int, data: bytes) -> bool:
    """Whether the last frame of these says so."""
    start, number = close_frame(code)
    at = data.rfind(number)
    return at >= 2 and data[at - 2 : at - 1] == start


def test_a_slow_reader_is_kept_one_fragment_and_then_dropped(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(bounds, "RESPONSE_READ_SECONDS", 1.0)

    async def test() -> None:
        show = Show()
        async with serving(show) as served:
            _, slow = await served.watch()
            most = 0
            while slow in served.state.connections:
                show.watchers[0].show(snapshot("f" * FRAME_BYTES))
                most = max(most, slow.transport.get_write_buffer_size())
                await asyncio.sleep(0.02)
            assert 0 < most <= FRAGMENT_BYTES + 16
            await until(lambda: show.left == 1)

    run(test())


def test_without_the_bound_the_process_would_keep_every_frame() -> None:
    """The control: the kernel takes no more than its buffers hold."""

    async def test() -> None:
        show = Show()
        async with serving(show) as served:
            _, slow = await served.watch()
            for _ in range(100):
                for frame in snapshot("f" * FRAME_BYTES).frames:
                    slow.transport.write(frame)
                await asyncio.sleep(0)
            assert slow.transport.get_write_buffer_size() > 50 * FRAME_BYTES

    run(test())


def test_a_reader_gets_every_frame_and_stays_while_another_reads_nothing() -> None:
    async def test() -> None:
        show = Show()
        async with serving(show) as served:
            good, protocol = await served.watch()
            await served.watch()
            for number in range(30):
                shown = snapshot(f"{number}" * FRAME_BYTES)
                for watcher in show.watchers:
                    watcher.show(shown)
                expected = b"".join(shown.frames)
                assert await good.read_bytes(len(expected)) == expected
                await until(show.watchers[0]._sending.done)
            assert not protocol.transport.is_closing()

    run(test())


def test_a_frame_with_all_winners_is_kept_once_for_everybody() -> None:
    async def test() -> None:
        show = Show()
        async with serving(show) as served:
            slow = [(await served.watch())[1] for _ in range(10)]
            shown = snapshot(WINNERS)
            for watcher in show.watchers:
                watcher.show(shown)
            await asyncio.sleep(0.2)
            sizes = [protocol.transport.get_write_buffer_size() for protocol in slow]
            assert all(0 < size <= FRAGMENT_BYTES + 16 for size in sizes)

    run(test())


def test_a_message_in_fragments_arrives_whole_and_a_pong_behind_it() -> None:
    async def test() -> None:
        show = Show()
        async with serving(show) as served:
            browser, _ = await served.watch()
            shown = snapshot(WINNERS)
            show.watchers[0].show(shown)
            await browser.send(PING)
            await asyncio.sleep(0.1)
            expected = b"".join(shown.frames) + PONG
            assert await browser.read_bytes(len(expected)) == expected

    run(test())


def test_a_ping_of_the_protocol_is_answered_between_fragments() -> None:
    async def test() -> None:
        show = Show()
        async with serving(show) as served:
            browser, _ = await served.watch()
            shown = snapshot(WINNERS)
            show.watchers[0].show(shown)
            await asyncio.sleep(0.1)
            await browser.send(Frame(Opcode.PING, b"early").serialize(mask=True))
            await browser.send(Frame(Opcode.PING, b"late").serialize(mask=True))
            await asyncio.sleep(0.1)
            pongs = [Frame(Opcode.PONG, said).serialize(mask=False) for said in (b"early", b"late")]
            got = await browser.read_bytes(sum(map(len, (*shown.frames, *pongs))))
            for pong in pongs:
                assert 0 < got.index(pong) < len(got) - len(pong)
                got = got.replace(pong, b"")
            assert got == b"".join(shown.frames)

    run(test())


def test_a_watcher_that_says_too_much_is_sent_away_and_holds_up_nobody() -> None:
    async def test() -> None:
        show = Show()
        async with serving(show) as served:
            talker, protocol = await served.watch()
            other, _ = await served.watch()
            sending = asyncio.create_task(talker.send(PING * 100_000))
            for _ in range(20):
                await other.send(PING)
                assert await other.read_bytes(len(PONG)) == PONG
                assert protocol.queue.qsize() <= MAX_READ_FRAMES
            assert closes_with(1009, await talker.read_to_the_end())
            sending.cancel()

    run(test())


CHATTER = {
    "text": PING,
    "ping": Frame(Opcode.PING, b"").serialize(mask=True),
    "pong": Frame(Opcode.PONG, b"").serialize(mask=True),
    "empty": Frame(Opcode.TEXT, b"").serialize(mask=True),
    "bytes": Frame(Opcode.BINARY, b"").serialize(mask=True),
    "one byte": Frame(Opcode.TEXT, b"x").serialize(mask=True),
}
FRAGMENTS = (
    Frame(Opcode.TEXT, b"", fin=False).serialize(mask=True)
    + Frame(Opcode.CONT, b"", fin=False).serialize(mask=True) * 499
)
PACKS = {**{kind: frame * 500 for kind, frame in CHATTER.items()}, "fragments": FRAGMENTS}


@pytest.mark.parametrize("pack", PACKS.values(), ids=PACKS)
@pytest.mark.parametrize("piece", [7, 100, 100_000])
def test_a_pack_of_frames_ends_the_connection_before_most_of_it_is_read(
    monkeypatch: pytest.MonkeyPatch, pack: bytes, piece: int
) -> None:
    monkeypatch.setattr(websocket, "MAX_RECEIVED_BYTES", 10**9)

    async def test() -> None:
        show = Show()
        async with serving(show) as served:
            browser, protocol = await served.watch()
            for at in range(0, len(pack), piece):
                protocol.data_received(pack[at : at + piece])
            assert protocol._received_frames <= MAX_READ_FRAMES
            got = await browser.read_to_the_end()
            assert closes_with(1008, got)
            assert got.count(PONG) <= MAX_READ_FRAMES
            await until(lambda: show.left == 1 and not served.state.connections)

    run(test())


def test_without_the_bound_a_pack_is_read_to_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """The control."""
    monkeypatch.setattr(websocket, "MAX_RECEIVED_FRAMES", 10**9)
    monkeypatch.setattr(websocket, "MAX_RECEIVED_BYTES", 10**9)

    async def test() -> None:
        async with serving(Show()) as served:
            browser, _ = await served.watch()
            await browser.send(PING * 500)
            assert await browser.read_bytes(500 * len(PONG)) == PONG * 500

    run(test())


@pytest.mark.parametrize("kind", [Opcode.TEXT, Opcode.PING])
def test_a_watcher_may_say_a_little_every_second(kind: Opcode) -> None:
    async def test() -> None:
        async with serving(Show()) as served:
            browser, protocol = await served.watch()
            message = Frame(kind, b"ping").serialize(mask=True)
            for _ in range(3):
                await browser.send(message * (websocket.MAX_RECEIVED_FRAMES // 2))
                await until(lambda: protocol._received_bytes > 0)
                await until(lambda: protocol._received_bytes == 0)
            assert not protocol.close_sent

    run(test())


def test_fragments_of_nothing_are_not_kept() -> None:
    async def test() -> None:
        async with serving(Show()) as served:
            browser, protocol = await served.watch()
            nothing = Frame(Opcode.CONT, b"", fin=False).serialize(mask=True)
            await browser.send(Frame(Opcode.TEXT, b"pi", fin=False).serialize(mask=True))
            await browser.send(nothing * 5)
            await browser.send(Frame(Opcode.CONT, b"ng").serialize(mask=True))
            assert await browser.read_bytes(len(PONG)) == PONG
            await browser.send(Frame(Opcode.TEXT, b"pi", fin=False).serialize(mask=True))
            await browser.send(nothing * 5)
            await asyncio.sleep(0.5)
            assert len(protocol.frames) <= 1

    run(test())


@pytest.mark.parametrize(
    ("said", "code"),
    [
        (Frame(Opcode.TEXT, bytes(MEGABYTE)).serialize(mask=True), 1009),
        (Frame(Opcode.BINARY, bytes(MEGABYTE)).serialize(mask=True), 1009),
        (Frame(Opcode.TEXT, b"\xff\xfe").serialize(mask=True), 1007),
        (Frame(Opcode.TEXT, b"ping").serialize(mask=False), 1002),
        (PING + bytes([0xFF]) * 4000, 1002),
    ],
    # A mask is another one each time, and in a name it would be another test.
    ids=["long text", "long bytes", "no text", "no mask", "no frame"],
)
def test_what_a_watcher_may_not_say_ends_its_connection_with_the_reason(
    said: bytes, code: int
) -> None:
    async def test() -> None:
        show = Show()
        async with serving(show) as served:
            browser, _ = await served.watch()
            await browser.send(said)
            assert closes_with(code, await browser.read_to_the_end())
            await until(lambda: show.left == 1 and not served.state.connections)

    run(test())


def test_a_long_message_in_many_fragments_is_too_long_as_well() -> None:
    async def test() -> None:
        async with serving(Show()) as served:
            browser, _ = await served.watch()
            await browser.send(Frame(Opcode.TEXT, b"x", fin=False).serialize(mask=True))
            await browser.send(Frame(Opcode.CONT, bytes(100), fin=False).serialize(mask=True) * 20)
            assert closes_with(1009, await browser.read_to_the_end())

    run(test())


def test_who_says_goodbye_behind_a_message_is_no_error(caplog: pytest.LogCaptureFixture) -> None:
    async def test() -> None:
        show = Show()
        async with serving(show) as served:
            browser, _ = await served.watch()
            goodbye = Frame(Opcode.CLOSE, struct.pack("!H", 1000)).serialize(mask=True)
            await browser.send(PING * 3 + goodbye)
            assert closes_with(1000, await browser.read_to_the_end())
            await until(lambda: not served.state.connections and not served.state.tasks)

    run(test())
    assert not [record for record in caplog.records if record.levelname == "ERROR"]


def test_nothing_follows_a_goodbye_into_the_middle_of_a_message() -> None:
    async def test() -> None:
        show = Show()
        async with serving(show) as served:
            browser, protocol = await served.watch()
            show.watchers[0].show(snapshot(WINNERS))
            await asyncio.sleep(0.1)
            protocol.shutdown()
            # As a server that stops does with every connection.
            protocol.shutdown()
            got = await browser.read_to_the_end()
            assert got.endswith(b"\x88\x02" + struct.pack("!H", 1012))
            assert len(got) < len(WINNERS)

    run(test())


@pytest.mark.parametrize(
    ("line", "status"),
    [(b"X-Long: " + b"x" * 20_000, b"431"), (b"X-Odd: \x01\x02", b"400")],
)
def test_a_handshake_that_cannot_be_read_is_answered(line: bytes, status: bytes) -> None:
    async def test() -> None:
        async with serving(Show()) as served:
            browser = await served.connect()
            await browser.send(HANDSHAKE[:-2] + line + b"\r\n\r\n")
            answer = await browser.read_to_the_end()
            assert answer.startswith(b"HTTP/1.1 " + status)
            assert b"application/problem+json" in answer
            await until(lambda: not served.state.connections)

    run(test())


def test_who_leaves_before_it_is_answered_is_no_error(caplog: pytest.LogCaptureFixture) -> None:
    async def late(_scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await asyncio.sleep(0.2)
        await send({"type": "websocket.accept"})
        await Watcher(send).send(text="too late")
        await stay(receive)

    async def test(served: Serving) -> None:
        browser = await served.connect()
        await browser.send(HANDSHAKE)
        await until(lambda: bool(served.state.tasks))
        browser.end.close()
        await until(lambda: not served.state.tasks)

    async def whole() -> None:
        async with serving(late) as served:
            await test(served)

    run(whole())
    assert not [record for record in caplog.records if record.levelname == "ERROR"]
