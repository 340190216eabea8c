"""How much of a request has arrived, by its first bytes: nothing is parsed, nobody asked."""

import re

from web.body import MAX_BODY_BYTES

HEAD_END = b"\r\n\r\n"
# A head may be as long as a body. What does not fit, with the framing of its chunks, is refused.
MAX_SEEN_BYTES = 2 * MAX_BODY_BYTES
_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*(\d{1,9})[ \t]*(?=\r\n)")
_CHUNKED = re.compile(rb"\r\ntransfer-encoding:[ \t]*chunked[ \t]*\r\n")
_WANTS_CLOSE = re.compile(rb"\r\nconnection:[ \t]*close")
_EXPECTS = re.compile(rb"\r\nexpect:[ \t]*100-continue[ \t]*\r\n")
_CHUNK_SIZE = re.compile(rb"([0-9a-f]{1,8})[ \t]*(?:;[^\r\n]*)?\r\n", re.IGNORECASE)


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


def awaited_length(start: bytes) -> int | None:
    """How many bytes must have arrived before it is worth looking again.

    None when a thread can take it and will not wait: all of it is there, or its body is too
    long and will not be read, or it is no request and the parser knows what to say.
    """
    end = start.find(HEAD_END)
    if end < 0:
        return len(start) + 1
    head = start[: end + 2].lower()
    body_at = end + len(HEAD_END)
    if _CHUNKED.search(head):
        return None if _has_last_chunk(start, body_at) else len(start) + 1
    lengths = _LENGTH.findall(head)
    if len(lengths) != 1 or int(lengths[0]) > MAX_BODY_BYTES:
        return None
    length = body_at + int(lengths[0])
    return length if length > len(start) else None


def has_whole_head(start: bytes) -> bool:
    """Whether the request's line and headers are all there."""
    return HEAD_END in start


def expects_to_be_asked(start: bytes) -> bool:
    """Whether the client keeps the body back until it is told to go on."""
    end = start.find(HEAD_END)
    return end >= 0 and _EXPECTS.search(start[: end + 2].lower()) is not None


def _has_last_chunk(start: bytes, at: int) -> bool:
    """Whether the chunks from there on end, or are none: the parser then knows what to say."""
    while size := _CHUNK_SIZE.match(start, at):
        length = int(size[1], 16)
        if length == 0:
            # Trailers may follow; a blank line ends them.
            return start.startswith(b"\r\n", size.end()) or start.find(HEAD_END, size.end()) >= 0
        at = size.end() + length + 2
    return at < len(start) and b"\r\n" in start[at:]
