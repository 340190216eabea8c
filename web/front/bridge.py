"""The bridge to Flask: a thread gets a whole request, and gives a whole answer.

So no thread ever waits for a client, however slowly it sends or reads.
"""

import io
import sys
from collections.abc import Iterable
from functools import partial
from typing import Any
from urllib.parse import unquote_to_bytes
from wsgiref.types import WSGIApplication, WSGIEnvironment

from web.front.overload import ThreadQueue
from web.http.body import MAX_BODY_BYTES
from web.http.requests import Response, Scope

# Served even where everything else has to wait: those who must see into a service that is
# full, or help it.
_SPARED_PATHS = ("/health", "/ready", "/metrics", "/api/admin/")
SPARED_THREADS = 2


class Bridge:
    """Runs a WSGI application in threads of its own."""

    def __init__(self, app: WSGIApplication, *, threads: int, max_wait_seconds: float) -> None:
        self._app = app
        self._threads = ThreadQueue("flask", threads=threads, max_wait_seconds=max_wait_seconds)
        self._spared = ThreadQueue(
            "spared", threads=SPARED_THREADS, max_wait_seconds=max_wait_seconds
        )

    async def answer(self, scope: Scope, body: bytes | None) -> Response:
        """The application's answer. `body` None: it is too long. Raises Overloaded."""
        threads = self._spared if scope["path"].startswith(_SPARED_PATHS) else self._threads
        return await threads.run(partial(call, self._app, environ_of(scope, body)))

    def close(self) -> None:
        """Take no more requests."""
        self._threads.close()
        self._spared.close()


def environ_of(scope: Scope, body: bytes | None) -> WSGIEnvironment:
    """The request as PEP 3333 has it."""
    host, port = scope["server"] or ("", None)
    client_host, client_port = scope["client"] or ("", None)
    environ: WSGIEnvironment = {
        "REQUEST_METHOD": scope["method"],
        "SCRIPT_NAME": "",
        "PATH_INFO": unquote_to_bytes(scope["raw_path"]).decode("latin-1"),
        "QUERY_STRING": scope["query_string"].decode("latin-1"),
        "REQUEST_URI": scope["raw_path"].decode("latin-1"),
        "SERVER_NAME": host,
        "SERVER_PORT": str(port or ""),
        "SERVER_PROTOCOL": f"HTTP/{scope['http_version']}",
        "REMOTE_ADDR": client_host,
        "REMOTE_PORT": str(client_port or ""),
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": scope["scheme"],
        "wsgi.input": io.BytesIO(body or b""),
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": True,
        "wsgi.run_once": False,
    }
    for name, value in scope["headers"]:
        # `X_Forwarded_For` would pass for `X-Forwarded-For`.
        if b"_" not in name:
            key = f"HTTP_{name.decode('latin-1').upper().replace('-', '_')}"
            text = value.decode("latin-1")
            environ[key] = f"{environ[key]},{text}" if key in environ else text
    environ["CONTENT_TYPE"] = environ.pop("HTTP_CONTENT_TYPE", "")
    # What was sent in chunks has a length by now.
    for framing in ("HTTP_CONTENT_LENGTH", "HTTP_TRANSFER_ENCODING"):
        environ.pop(framing, None)
    environ["CONTENT_LENGTH"] = str(MAX_BODY_BYTES + 1 if body is None else len(body))
    return environ


def call(app: WSGIApplication, environ: WSGIEnvironment) -> Response:
    """In a thread: the application's whole answer."""
    started: list[Any] = []

    def start_response(status: str, headers: list[tuple[str, str]], *_: Any) -> Any:
        started[:] = status, headers
        return started.append  # PEP 3333's write(), which nothing here calls

    parts: Iterable[bytes] = app(environ, start_response)
    try:
        body = b"".join(parts)
    finally:
        getattr(parts, "close", lambda: None)()
    status, headers = started
    encoded = [(name.lower().encode("latin-1"), text.encode("latin-1")) for name, text in headers]
    if body and all(name != b"content-length" for name, _ in encoded):
        # A streamed answer: whole by now.
        encoded.append((b"content-length", b"%d" % len(body)))
    return Response(int(status[:3]), encoded, body)
