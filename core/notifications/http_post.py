"""One HTTP/1.1 POST, with a deadline by the wall clock for all of it.

The address of the very connection is judged, after the name is looked up: a name cannot lead
elsewhere between the judgement and the connection.

Only the status of the response matters here, so only that is read: a broken header after it
changes nothing, and a body of any size or speed costs nothing.
"""

import asyncio
import re
import socket
import ssl
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from urllib.parse import SplitResult, urlsplit

import aiohappyeyeballs

from core.rules.destinations import Destinations

_STATUS_LINE = re.compile(rb"HTTP/1\.[01] ([1-5]\d\d)(?:[ \t][^\r\n]*)?\r?\n")
# Of interim responses, such as 100 Continue, before the real one.
_MAX_LINES = 200
_HAPPY_EYEBALLS_SECONDS = 0.25
# Many, so that names whose servers are silent do not delay the others.
_LOOKUPS = ThreadPoolExecutor(64, "lookup")


class NoResponse(Exception):
    """No valid status came. The message names the reason without the address."""


async def post(
    url: str,
    body: bytes,
    headers: Mapping[str, str],
    *,
    seconds: float,
    destinations: Destinations | None = None,
) -> int:
    """The status of the response; redirects are not followed. Raises NoResponse.

    The deadline covers name lookup, connection, TLS, sending and the status line. Without
    `destinations` every address is allowed.
    """
    try:
        async with asyncio.timeout(seconds):
            return await _post(urlsplit(url), body, headers, destinations)
    except TimeoutError:
        raise NoResponse(f"no answer within {seconds:g} s") from None
    except ValueError:
        # The reader's, at a line that is too long.
        raise NoResponse("no valid response") from None
    except OSError as error:
        # The class only: the message contains the address.
        name = "ConnectionError" if type(error) is OSError else type(error).__name__
        raise NoResponse(name) from None


async def _post(
    url: SplitResult,
    body: bytes,
    headers: Mapping[str, str],
    destinations: Destinations | None,
) -> int:
    reader, writer = await _connect(url, destinations)
    try:
        # Not drained: a receiver may answer before it has read everything.
        writer.write(_head(url, body, headers) + body)
        return await _status(reader)
    finally:
        writer.transport.abort()


async def _connect(
    url: SplitResult, destinations: Destinations | None
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    is_encrypted = url.scheme == "https"
    lookup = partial(socket.getaddrinfo, url.hostname, type=socket.SOCK_STREAM)
    port = url.port or (443 if is_encrypted else 80)
    found = await asyncio.get_running_loop().run_in_executor(_LOOKUPS, lookup, port)
    if destinations is not None:
        found = [
            each for each in found if destinations.allow(str(each[4][0]), is_encrypted=is_encrypted)
        ]
    if not found:
        raise NoResponse("address not allowed")
    connected = await aiohappyeyeballs.start_connection(
        found, happy_eyeballs_delay=_HAPPY_EYEBALLS_SECONDS
    )
    return await asyncio.open_connection(
        sock=connected,
        ssl=ssl.create_default_context() if is_encrypted else None,
        server_hostname=url.hostname if is_encrypted else None,
    )


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
