"""HTTP of the express lane without a thread: whole requests in, whole answers out.

Only a request of one of the two kinds that has arrived whole and leaves its connection open
is read here. Gunicorn's own parser reads it, so the rules are the same for every request; what
it refuses, and whatever is unusual, is left in the socket for the ordinary way.
"""

import time
from typing import Any
from wsgiref.types import WSGIEnvironment

from gunicorn import SERVER
from gunicorn.http.parser import RequestParser
from gunicorn.util import http_date

from web.access import BID_PATH
from web.arrival import whole_length
from web.express import BOARD_PREFIX, Response

_STARTS = (f"POST {BID_PATH} ".encode(), f"GET {BOARD_PREFIX}".encode())
_HEAD = (
    "HTTP/1.1 {status}\r\nServer: {server}\r\nDate: {date}\r\n"
    "Connection: keep-alive\r\n{fields}\r\n"
)


def length_of_plain(start: bytes) -> int | None:
    """How many bytes the request takes that starts so; None when it is not for the lane."""
    return whole_length(start) if start.startswith(_STARTS) else None


def environ_of(request_bytes: bytes, client: Any, config: Any) -> WSGIEnvironment | None:
    """What the lane must know of a request; None when it is not for the lane."""
    try:
        request = next(RequestParser(config, iter((request_bytes,)), client))
    except Exception:  # noqa: BLE001 - gunicorn finds it again and knows the answer
        return None
    if request.should_close() or "%" in request.path:
        return None
    environ = {
        "REQUEST_METHOD": request.method,
        "PATH_INFO": request.path,
        "QUERY_STRING": request.query,
        "REMOTE_ADDR": client[0] if isinstance(client, tuple) else "",
        "wsgi.input": request.body,
    }
    for name, value in request.headers:
        key = name.replace("-", "_")
        if key not in ("CONTENT_TYPE", "CONTENT_LENGTH"):
            key = f"HTTP_{key}"
        if key in environ:
            return None
        environ[key] = value
    return environ


class Dates:
    """The Date header's value, made once a second."""

    def __init__(self) -> None:
        self._second = 0
        self._text = ""

    def now(self) -> str:
        """The current one."""
        second = int(time.time())
        if second != self._second:
            self._second, self._text = second, http_date(second)
        return self._text


_dates = Dates()


def bytes_of(response: Response) -> bytes:
    """The response as gunicorn sends it on a connection that stays open."""
    fields = "".join([f"{name}: {value}\r\n" for name, value in response.headers.items()])
    head = _HEAD.format(status=response.status, server=SERVER, date=_dates.now(), fields=fields)
    return head.encode("latin-1") + response.body
