"""How much of a request is there, by its first bytes."""

import pytest

from web.arrival import awaited_length, expects_to_be_asked, has_whole_head, whole_length
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
def test_every_part_of_a_request_is_awaited_until_it_is_whole(request_bytes: bytes) -> None:
    for size in range(1, len(request_bytes)):
        awaited = awaited_length(request_bytes[:size])
        assert awaited is not None
        assert size < awaited <= len(request_bytes)
    assert awaited_length(request_bytes) is None
    assert awaited_length(request_bytes + GET) is None


@pytest.mark.parametrize(
    "start",
    [
        GET,
        BID.replace(b"HTTP/1.1", b"HTTP/1.0"),
        CHUNKED + b"0\r\nTrailer: x\r\n\r\n",
        # The parser refuses these by what is there.
        CHUNKED + b"no chunk\r\n",
        BID[:-2].replace(b"Host: x", b"Content-Length: 3"),
        BID[:-2].replace(b"Content-Length: 2", b"Content-Length: +2"),
        b"GARBAGE\r\n\r\n",
        # Whatever is to be read of it, the body is not.
        BID[:-2].replace(b"Content-Length: 2", b"Content-Length: %d" % (MAX_BODY_BYTES + 1)),
    ],
)
def test_what_needs_no_more_is_not_awaited(start: bytes) -> None:
    assert awaited_length(start) is None


def test_who_wants_to_be_asked_for_the_body_is_seen_by_the_head() -> None:
    assert expects_to_be_asked(BID.replace(b"Host: x", b"Expect: 100-Continue"))
    assert not expects_to_be_asked(BID + b"\r\nExpect: 100-continue\r\n")
    assert has_whole_head(BID)
    assert not has_whole_head(BID[:60])
