"""Runs Flask in threads: each gets a complete request and returns a complete response, or the
pieces of a long one.

No thread waits for a client, however slowly it sends or reads.
"""

import io
import sys
from functools import partial
from urllib.parse import unquote_to_bytes
from wsgiref.types import WSGIApplication, WSGIEnvironment

from werkzeug.test import run_wsgi_app
from werkzeug.wsgi import FileWrapper

from core.members.passwords import HASHES_AT_ONCE
from web.front.overload import ThreadQueue
from web.http.body import MAX_BODY_BYTES
from web.http.requests import (
    MAX_WHOLE_BYTES,
    PIECE_BYTES,
    RawResponse,
    Scope,
    encode_headers,
    headers_of,
)

OPERATOR_THREADS = 2
# Paths that have threads of their own, by how they begin.
_OWN_THREADS = (
    # For operators, so that they work on an overloaded service.
    ("operators", OPERATOR_THREADS, ("/health", "/metrics", "/api/admin/")),
    # A balancer's check: a hanging server must not take every host out.
    ("balancers", 1, ("/ready",)),
    # Those that hash passwords: others must not wait behind them. No more threads than hashes
    # at once (core/members/passwords.py): each that has hashed keeps the memory of one.
    ("accounts", HASHES_AT_ONCE, ("/api/auth/login", "/api/auth/register")),
)


class Bridge:
    """Runs a WSGI application in its own threads."""

    def __init__(self, app: WSGIApplication, *, threads: int, max_wait_seconds: float) -> None:
        self._app = app
        create = partial(ThreadQueue, max_wait_seconds=max_wait_seconds)
        self._threads = create("flask", threads=threads)
        self._own_threads = [
            (paths, create(name, threads=count)) for name, count, paths in _OWN_THREADS
        ]

    async def respond(self, scope: Scope, body: bytes | None) -> RawResponse:
        """The application's response. `body` is None when too long. Raises ServiceBusy."""
        threads = self._threads_for(scope["path"])
        return await threads.run(partial(call_wsgi, self._app, wsgi_environ(scope, body)))

    def close(self) -> None:
        """Accept no more requests."""
        for threads in (self._threads, *(own for _, own in self._own_threads)):
            threads.close()

    def _threads_for(self, path: str) -> ThreadQueue:
        own = (threads for paths, threads in self._own_threads if path.startswith(paths))
        return next(own, self._threads)


def wsgi_environ(scope: Scope, body: bytes | None) -> WSGIEnvironment:
    """The request as a PEP 3333 environ."""
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
        "wsgi.file_wrapper": lambda file, _: FileWrapper(file, PIECE_BYTES),
    }
    for name, value in headers_of(scope).items():
        # Otherwise `X_Forwarded_For` would be read as `X-Forwarded-For`.
        if b"_" not in name:
            key = f"HTTP_{name.decode('latin-1').upper().replace('-', '_')}"
            environ[key] = value.decode("latin-1")
    environ["CONTENT_TYPE"] = environ.pop("HTTP_CONTENT_TYPE", "")
    # The body is complete, so a chunked one has a length now.
    for framing in ("HTTP_CONTENT_LENGTH", "HTTP_TRANSFER_ENCODING"):
        environ.pop(framing, None)
    environ["CONTENT_LENGTH"] = str(MAX_BODY_BYTES + 1 if body is None else len(body))
    return environ


def call_wsgi(app: WSGIApplication, environ: WSGIEnvironment) -> RawResponse:
    """Call the application; its complete response, or its pieces when it is long."""
    parts, status_line, headers = run_wsgi_app(app, environ)
    status = int(status_line[:3])
    if headers.get("Content-Length", 0, int) > MAX_WHOLE_BYTES:
        return RawResponse(status, encode_headers(headers), b"", parts)
    try:
        body = b"".join(parts)
    finally:
        getattr(parts, "close", lambda: None)()
    if body:
        # A streamed response is complete now.
        headers.setdefault("Content-Length", str(len(body)))
    return RawResponse(status, encode_headers(headers), body)
