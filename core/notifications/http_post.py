"""One HTTP/1.1 POST, with a deadline by the wall clock for all of it.

Only the status of the response matters here, so only that is read: a broken header after it
changes nothing, and a body of any size or speed costs nothing.
"""

import asyncio
import re
import ssl
from collections.abc import Mapping
from urllib.parse import SplitResult, urlsplit

_STATUS_LINE = re.compile(rb"HTTP/1\.[01] ([1-5]\d\d)(?:[ \t][^\r\n]*)?\r?\n")
# Of interim responses, such as 100 Continue, before the real one.
_MAX_LINES = 200
_HAPPY_EYEBALLS_SECONDS = 0.25


class NoResponse(Exception):
    """No valid status came. The message names the reason without the address."""


async def post(url: str, body: bytes, headers: Mapping[str, str], *, seconds: float) -> int:
    """The status of the response; redirects are not followed. Raises NoResponse.

    The deadline covers name lookup, connection, TLS, sending and the status line.
    """
    try:
        async with asyncio.timeout(seconds):
            return await _post(urlsplit(url), body, headers)
    except TimeoutError:
        raise NoResponse(f"no answer within {seconds:g} s") from None
    except ValueError:
        # The reader's, at a line that is too long.
        raise NoResponse("no valid response") from None
    except OSError as error:
        # The class only: the message contains the address.
        name = "ConnectionError" if type(error) is OSError else type(error).__name__
        raise NoResponse(name) from None


async def _post(url: SplitResult, body: bytes, headers: Mapping[str, str]) -> int:
    is_encrypted = url.scheme == "https"
    reader, writer = await asyncio.open_connection(
        url.hostname,
        url.port or (443 if is_encrypted else 80),
        ssl=ssl.create_default_context() if is_encrypted else None,
        happy_eyeballs_delay=_HAPPY_EYEBALLS_SECONDS,
    )
    try:
        # Not drained: a receiver may answer before it has read everything.
        writer.write(_head(url, body, headers) + body)
        return await _status(reader)
    finally:
        writer.transport.abort()


def _head(url: SplitResult, body: bytes, headers: Mapping[str, str]) -> bytes:
    target = (url.path or "/") + (f"?{url.query}" if url.query else "")
    own = {"host": url.netloc, "content-length": str(len(body)), "connection": "close"}
    lines = [
        f"POST {target} HTTP/1.1",
        *(f"{name}: {text}" for name, text in {**own, **headers}.items()),
    ]
    return "".join(f"{line}\r\n" for line in [*lines, ""]).encode("ascii")


async def _status(reader: asyncio.StreamReader) -> int:
    is_interim = False
    for _ in range(_MAX_LINES):
        line = await reader.readline()
        if is_interim:
            # The headers of an interim response end with an empty line.
            is_interim = bool(line.strip())
            continue
        match = _STATUS_LINE.fullmatch(line)
        if match is None:
            raise NoResponse("no valid response")
        status = int(match[1])
        if status >= 200:  # noqa: PLR2004 - below are interim responses
            return status
        is_interim = True
    raise NoResponse("no valid response")
