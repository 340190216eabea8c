"""How much of a request is there, by its first bytes."""

import pytest

from web.arrival import MAX_SEEN_BYTES, Arriving, State, whole_length
from web.body import MAX_BODY_BYTES

BID = b"POST /api/bid HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nX-Request-ID: abc-1\r\n\r\n{}"
GET = b"GET /api/sessions HTTP/1.1\r\nHost: x\r\n\r\n"
CHUNKED = BID[:-2].replace(b"Content-Length: 2", b"Transfer-Encoding: chunked")
CHUNKS = b"2\r\n{}\r\n1;name=value\r\n \r\n0\r\n\r\n"


def test_a_request_that_is_wholly_there_has_a_length() -> None:
    assert whole_length(BID) == len(BID)
    assert whole_length(BID + GET) == len(BID)
    assert whole_length(GET) == len(GET)


@pytest.mark.parametrize(
    "start",
    [
        b"",
        b"POST /api/bid HTTP/1.1\r\nHost: x\r\n",
        BID[:-1],
        BID.replace(b"HTTP/1.1", b"HTTP/1.0"),
        BID.replace(b"Host: x", b"Connection: close"),
        BID.replace(b"Host: x", b"Content-Length: 2"),
        BID.replace(b"Content-Length: 2", b"Content-Length : 2"),
        BID.replace(b"Content-Length: 2", b"Content-Length: +2"),
        BID.replace(b"Content-Length: 2", b"Transfer-Encoding: chunked"),
        BID.replace(b"POST", b"HEAD"),
        BID.replace(b"\r\n", b"\n"),
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
    ],
)
def test_where_the_end_is_not_certain_there_is_none(start: bytes) -> None:
    assert whole_length(start) is None


@pytest.mark.parametrize("request_bytes", [BID, CHUNKED + CHUNKS], ids=["stated", "chunked"])
def test_a_request_in_pieces_is_whole_with_its_last_byte(request_bytes: bytes) -> None:
    arriving = Arriving()
    for place, byte in enumerate(request_bytes):
        assert arriving.state is State.PARTIAL, place
        arriving.add(bytes([byte]))
    assert arriving.state is State.WHOLE
    assert state_of(request_bytes) is state_of(request_bytes + GET) is State.WHOLE


@pytest.mark.parametrize(
    "start",
    [
        GET,
        BID.replace(b"HTTP/1.1", b"HTTP/1.0"),
        CHUNKED + b"0\r\nTrailer: x\r\n\r\n",
        b"GARBAGE\r\n\r\n",
        # Whatever is to be read of it, the body is not.
        BID[:-2].replace(b"Content-Length: 2", b"Content-Length: %d" % (MAX_BODY_BYTES + 1)),
    ],
)
def test_what_needs_no_more_is_whole(start: bytes) -> None:
    assert state_of(start) is State.WHOLE


@pytest.mark.parametrize(
    "start",
    [
        CHUNKED + b"no chunk\r\n",
        CHUNKED + b"000000002\r\n",
        CHUNKED + b"0" * 300,
        CHUNKED.replace(b"chunked", b"identity, chunked"),
        CHUNKED.replace(b"chunked", b"gzip, chunked"),
        CHUNKED.replace(b"Host: x", b"Transfer-Encoding: identity"),
        CHUNKED.replace(b"Host: x", b"Content-Length: 2"),
        BID[:-2].replace(b"Host: x", b"Content-Length: 3"),
        BID[:-2].replace(b"Content-Length: 2", b"Content-Length: +2"),
        BID[:-2].replace(b"Content-Length: 2", b"Content-Length: 0000000002"),
        CHUNKED + b"1\r\n \r\n" * (MAX_SEEN_BYTES // 6),
    ],
)
def test_nobody_waits_for_what_cannot_be_measured(start: bytes) -> None:
    assert state_of(start) is State.UNCERTAIN


def test_a_head_has_a_limit() -> None:
    start = BID[:40] + b"x" * MAX_SEEN_BYTES
    assert state_of(start) is State.HEAD_TOO_LONG
    assert state_of(start[: MAX_SEEN_BYTES - 1]) is State.PARTIAL


def test_who_wants_to_be_asked_for_the_body_is_seen_by_the_head() -> None:
    for request, expects in (
        (BID.replace(b"Host: x", b"Expect: 100-Continue")[:-1], True),
        (BID[:-1] + b"\r\nExpect: 100-continue\r\n", False),
    ):
        arriving = Arriving()
        arriving.add(request)
        assert arriving.expects_to_be_asked is expects


def state_of(start: bytes) -> State:
    arriving = Arriving()
    arriving.add(start)
    return arriving.state
