"""How much of a request has arrived, by its bytes: nothing is parsed, nobody asked."""

import re
from enum import Enum, auto

from web.body import MAX_BODY_BYTES

HEAD_END = b"\r\n\r\n"
# A head may be as long as a body. What does not fit, with the framing of its chunks, is refused.
MAX_SEEN_BYTES = 2 * MAX_BODY_BYTES
_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*(\d{1,9})[ \t]*(?=\r\n)")
_CHUNKED = re.compile(rb"\r\ntransfer-encoding:[ \t]*chunked[ \t]*(?=\r\n)")
_WANTS_CLOSE = re.compile(rb"\r\nconnection:[ \t]*close")
_EXPECTS = re.compile(rb"\r\nexpect:[ \t]*100-continue[ \t]*\r\n")
_CHUNK_SIZE = re.compile(rb"([0-9a-f]{1,8})[ \t]*(?:;[^\r\n]*)?", re.IGNORECASE)
# Longer than any line that says how long a chunk is.
_MAX_SIZE_LINE_BYTES = 256


class State(Enum):
    """Of a request, by what is there of it."""

    PARTIAL = auto()
    WHOLE = auto()
    # More may come or not: whoever serves it must not wait for that.
    UNCERTAIN = auto()
    HEAD_TOO_LONG = auto()


def whole_length(start: bytes) -> int | None:
    """How long the first request is, in bytes, when all of it is there.

    None when it is not, or when its end cannot be told for certain: whoever refuses it
    then has to close the connection, or its rest would be taken for a request.
    """
    end = start.find(HEAD_END)
    if end < 0 or start.startswith(b"HEAD "):
        return None
    head = start[: end + 2].lower()
    if not head[: head.index(b"\r\n")].endswith(b" http/1.1"):
        return None
    if b"transfer-encoding" in head or _WANTS_CLOSE.search(head):
        return None
    lengths = _LENGTH.findall(head)
    if len(lengths) != head.count(b"content-length") or len(lengths) > 1:
        return None
    length = end + len(HEAD_END) + (int(lengths[0]) if lengths else 0)
    return length if length <= len(start) else None


class Arriving:
    """A request in pieces. Each byte is looked at once, however many pieces it comes in."""

    def __init__(self) -> None:
        self.received = bytearray()
        self.state = State.PARTIAL
        # Whether the client keeps the body back until it is told to go on.
        self.expects_to_be_asked = False
        self._has_head = self._is_chunked = False
        # It is not worth looking again before so much is there, nor at what is before this.
        self._awaited = self._seen = 0

    def add(self, more: bytes) -> None:
        """Take the next piece, and tell by `state` what is there now."""
        self.received += more
        if not self._has_head:
            self._look_for_head()
        elif self._is_chunked:
            self._look_for_last_chunk()
        elif len(self.received) >= self._awaited:
            self.state = State.WHOLE
        if self.state is State.PARTIAL and len(self.received) >= MAX_SEEN_BYTES:
            self.state = State.UNCERTAIN if self._has_head else State.HEAD_TOO_LONG

    def _look_for_head(self) -> None:
        end = self.received.find(HEAD_END, self._seen)
        if end < 0:
            self._seen = max(0, len(self.received) - len(HEAD_END) + 1)
            return
        self._has_head = True
        head = bytes(self.received[: end + 2]).lower()
        self._seen = self._awaited = end + len(HEAD_END)
        self.expects_to_be_asked = _EXPECTS.search(head) is not None
        encodings, lengths = head.count(b"transfer-encoding"), head.count(b"content-length")
        if encodings:
            self._is_chunked = encodings == 1 and not lengths and bool(_CHUNKED.search(head))
            self.state = State.PARTIAL if self._is_chunked else State.UNCERTAIN
        elif lengths:
            self._measure(_LENGTH.findall(head), lengths)
        else:
            self.state = State.WHOLE
        if self._is_chunked:
            self._look_for_last_chunk()

    def _measure(self, lengths: list[bytes], mentioned: int) -> None:
        if mentioned != 1 or len(lengths) != 1:
            self.state = State.UNCERTAIN
        elif int(lengths[0]) > MAX_BODY_BYTES:
            # Its body will not be read.
            self.state = State.WHOLE
        else:
            self._awaited += int(lengths[0])
            if len(self.received) >= self._awaited:
                self.state = State.WHOLE

    def _look_for_last_chunk(self) -> None:
        while self.state is State.PARTIAL and len(self.received) > self._seen:
            end = self.received.find(b"\r\n", self._seen, self._seen + _MAX_SIZE_LINE_BYTES)
            if end < 0:
                if len(self.received) >= self._seen + _MAX_SIZE_LINE_BYTES:
                    self.state = State.UNCERTAIN
                return
            size = _CHUNK_SIZE.fullmatch(self.received, self._seen, end)
            if size is None:
                self.state = State.UNCERTAIN
            elif int(size[1], 16) == 0:
                self._look_for_end(end)
                return
            else:
                self._seen = end + int(size[1], 16) + 2 * len(b"\r\n")

    def _look_for_end(self, last_line_end: int) -> None:
        """Behind the last chunk, trailers may follow; a blank line ends them."""
        if self.received.find(HEAD_END, last_line_end) >= 0:
            self.state = State.WHOLE
