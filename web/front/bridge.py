"""Runs Flask in threads: each gets a complete request and returns a complete response, or the
pieces of a long one.

No thread waits for a client, however slowly it sends or reads.
"""

import io
import sys
from collections.abc import Iterable
from functools import partial
from typing import Any
from urllib.parse import unquote_to_bytes
from wsgiref.types import WSGIApplication, WSGIEnvironment

from werkzeug.wsgi import FileWrapper

from core.members.passwords import HASHES_AT_ONCE
from web.front.overload import ThreadQueue
from web.http.body import MAX_BODY_BYTES
from web.http.requests import MAX_WHOLE_BYTES, PIECE_BYTES, RawResponse, Scope, encode_headers

# Paths for operators have their own threads, so that they work on an overloaded service.
_OPERATOR_PATHS = ("/health", "/metrics", "/api/admin/")
OPERATOR_THREADS = 2
# A balancer's check has a thread of its own: a hanging server must not take every host out.
_BALANCER_PATH = "/ready"
# So do those that hash passwords: others must not wait behind them. No more threads than
# hashes at once (core/members/passwords.py): each that has hashed keeps the memory of one.
_ACCOUNT_PATHS = ("/api/auth/login", "/api/auth/register")
ACCOUNT_THREADS = HASHES_AT_ONCE


class Bridge:
    """Runs a WSGI application in its own threads."""

    def __init__(self, app: WSGIApplication, *, threads: int, max_wait_seconds: float) -> None:
        self._app = app
        create = partial(ThreadQueue, max_wait_seconds=max_wait_seconds)
        self._threads = create("flask", threads=threads)
        self._operator_threads = create("operators", threads=OPERATOR_THREADS)
        self._account_threads = create("accounts", threads=ACCOUNT_THREADS)
        self._balancer_thread = create("balancers", threads=1)

    async def respond(self, scope: Scope, body: bytes | None) -> RawResponse:
        """The application's response. `body` is None when too long. Raises Overloaded."""
        threads = self._threads_for(scope["path"])
        return await threads.run(partial(call_wsgi, self._app, wsgi_environ(scope, body)))

    def close(self) -> None:
        """Accept no more requests."""
        self._threads.close()
        self._operator_threads.close()
        self._account_threads.close()
        self._balancer_thread.close()

    def _threads_for(self, path: str) -> ThreadQueue:
        if path == _BALANCER_PATH:
            return self._balancer_thread
        if path.startswith(_OPERATOR_PATHS):
            return self._operator_threads
        return self._account_threads if path.startswith(_ACCOUNT_PATHS) else self._threads


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
    for name, value in scope["headers"]:
        # Otherwise `X_Forwarded_For` would be read as `X-Forwarded-For`.
        if b"_" not in name:
            key = f"HTTP_{name.decode('latin-1').upper().replace('-', '_')}"
            text = value.decode("latin-1")
            environ[key] = f"{environ[key]},{text}" if key in environ else text
    environ["CONTENT_TYPE"] = environ.pop("HTTP_CONTENT_TYPE", "")
    # The body is complete, so a chunked one has a length now.
    for framing in ("HTTP_CONTENT_LENGTH", "HTTP_TRANSFER_ENCODING"):
        environ.pop(framing, None)
    environ["CONTENT_LENGTH"] = str(MAX_BODY_BYTES + 1 if body is None else len(body))
    return environ


def call_wsgi(app: WSGIApplication, environ: WSGIEnvironment) -> RawResponse:
    """Call the application; its complete response, or its pieces when it is long."""
    started: list[Any] = []

    def start_response(status: str, headers: list[tuple[str, str]], *_: Any) -> Any:
        started[:] = status, headers
        return started.append  # PEP 3333's write(); never called here

    parts: Iterable[bytes] = app(environ, start_response)
    if started and _is_long(started[1]):
        return RawResponse(int(started[0][:3]), encode_headers(started[1]), b"", parts)
    try:
        body = b"".join(parts)
    finally:
        getattr(parts, "close", lambda: None)()
    status, headers = started
    if body and all(name.lower() != "content-length" for name, _ in headers):
        # A streamed response is complete now.
        headers = [*headers, ("content-length", str(len(body)))]
    return RawResponse(int(status[:3]), encode_headers(headers), body)


def _is_long(headers: list[tuple[str, str]]) -> bool:
    return int(dict(headers).get("Content-Length", 0)) > MAX_WHOLE_BYTES
