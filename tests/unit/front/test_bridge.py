"""The bridge gives a whole answer, however the WSGI application made it."""

from collections.abc import Iterable
from typing import Any

from web.front.bridge import call_wsgi


def streaming(_environ: Any, start_response: Any) -> Iterable[bytes]:
    start_response("200 OK", [("Content-Type", "text/plain")])
    yield b"one, "
    yield b"two"


def empty(_environ: Any, start_response: Any) -> Iterable[bytes]:
    start_response("204 NO CONTENT", [])
    return []


def test_a_streamed_answer_says_how_long_it_is() -> None:
    assert call_wsgi(streaming, {}) == (
        200,
        [(b"content-type", b"text/plain"), (b"content-length", b"8")],
        b"one, two",
    )


def test_an_answer_without_a_body_has_no_length() -> None:
    assert call_wsgi(empty, {}) == (204, [], b"")
