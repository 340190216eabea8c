"""Log lines: one JSON object an event, ours or a library's, and no secret in it."""

import json
import logging
from collections.abc import Iterator
from contextvars import Context

import pytest

from core.telemetry.logs import line_handler, request_id

TOKEN = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJib2IifQ.c2lnbmF0dXJl"
SECRETS = [TOKEN, "bob.b+x@shop.example"]


@pytest.fixture
def named() -> Iterator[str]:
    token = request_id.set("request-7")
    yield "request-7"
    request_id.reset(token)


def line(message: str, *, debug: bool = False, error: BaseException | None = None) -> str:
    exc_info = (type(error), error, error.__traceback__) if error else None
    record = logging.LogRecord("a.library", logging.ERROR, __file__, 1, message, (), exc_info)
    return line_handler(debug=debug).format(record)


def test_a_librarys_line_is_a_json_object_with_the_requests_id(named: str) -> None:
    found = json.loads(line("it happened"))
    assert found["event"] == "it happened"
    assert found["request_id"] == named
    assert {"level", "logger", "timestamp"} <= found.keys()


def test_a_line_outside_of_requests_has_no_id() -> None:
    # An application's tests, run before, leave the id of their last request.
    said = Context().run(line, "it happened")
    assert "request_id" not in json.loads(said)


@pytest.mark.parametrize("debug", [False, True])
@pytest.mark.parametrize("secret", SECRETS)
def test_secrets_in_messages_and_errors_are_hidden(debug: bool, secret: str) -> None:
    shown = line(f"got {secret}", debug=debug, error=ValueError(f"bad: {secret}"))
    assert secret not in shown
    assert shown.count("[hidden]") == 2


def test_a_password_in_an_address_is_hidden() -> None:
    shown = line("cannot reach redis://:hunter2@db:6379/1")
    assert "hunter2" not in shown
    assert "@db:6379/1" in shown


@pytest.mark.parametrize("debug", [False, True])
def test_an_error_shows_no_local_variables(debug: bool) -> None:
    def fail() -> None:
        password = "hunter2-local"  # noqa: F841 - it must not be shown
        raise ValueError("it failed")

    try:
        fail()
    except ValueError as error:
        shown = line("oops", debug=debug, error=error)
    assert "it failed" in shown
    assert "hunter2-local" not in shown.replace('password = "hunter2-local"', "")
