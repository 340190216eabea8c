"""Log lines: one JSON object an event, ours or a library's, and no secret in it."""

import json
import logging
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextvars import Context
from typing import Any
from urllib.parse import quote, quote_plus

import pytest

from core.config import load_settings, secrets_of
from core.telemetry import logs
from core.telemetry.logs import configure_logs, line_handler, request_id

TOKEN = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJib2IifQ.c2lnbmF0dXJl"
API_KEY = f"fbk_{'0f' * 16}_{'a-_Z' * 10}abc"
SECRETS = [TOKEN, API_KEY, "bob.b+x@shop.example"]


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


CONFIGURED = {
    "JWT_SECRET": "the key that signs / tokens + 32 bytes",
    "JWT_SECRET_PREVIOUS": "the key before it, which had 32 bytes, too",
    "METRICS_TOKEN": "a-token-of-metrics",
    "POSTGRES_PASSWORD": 'pg "quoted" \\ pässword',
    "REDIS_PASSWORD": "redis'password",
    "CELERY_BROKER_URL": "amqp://shop:br%40ker%2Fpass@rabbit:5672//",
    "LIMITS_REDIS_URL": "redis+sentinel://:limits-pass@a:1,b:2/name?password=other-pass",
    "SMTP_HOST": "mail.example",
    "SMTP_FROM": "sales@shop.example",
    "SMTP_USER": "shop",
    "SMTP_PASSWORD": "smtp pass",
    "WEBHOOK_URL": "https://shop.example/hooks/T0123456789abcdefXYZ/in?token=url-token&v=17171717",
    "WEBHOOK_SECRET": f"whsec_{b64encode(bytes(range(32))).decode()}",
}
CONFIGURED_SECRETS = [
    CONFIGURED["JWT_SECRET"],
    CONFIGURED["JWT_SECRET_PREVIOUS"],
    CONFIGURED["METRICS_TOKEN"],
    CONFIGURED["POSTGRES_PASSWORD"],
    CONFIGURED["REDIS_PASSWORD"],
    "br%40ker%2Fpass",
    "br@ker/pass",
    "limits-pass",
    "other-pass",
    CONFIGURED["SMTP_PASSWORD"],
    CONFIGURED["WEBHOOK_URL"],
    "T0123456789abcdefXYZ",
    "url-token",
    "17171717",
    CONFIGURED["WEBHOOK_SECRET"].removeprefix("whsec_"),
]


@pytest.fixture
def hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "_configured", set())
    monkeypatch.setattr(logs, "_hidden_texts", None)
    logs.hide(secrets_of(load_settings(CONFIGURED)))


def as_it_is(secret: str) -> str:
    return secret


def fail_because_of(cause: Exception) -> None:
    raise ValueError(f"bad {cause}") from cause


@pytest.mark.parametrize("debug", [False, True])
@pytest.mark.parametrize("spelled", [as_it_is, quote, quote_plus, repr, json.dumps, str.encode])
@pytest.mark.parametrize("secret", CONFIGURED_SECRETS)
def test_a_configured_secret_is_in_no_line_in_no_spelling(
    hidden: None, secret: str, spelled: Callable[[str], Any], debug: bool
) -> None:
    said = f"(url={spelled(secret)}): failed"
    try:
        fail_because_of(ConnectionError(said))
    except ValueError as error:
        shown = line(said, debug=debug, error=error)
    for spelling in {secret, str(spelled(secret)), json.dumps(secret)[1:-1]}:
        assert spelling not in shown
        assert json.dumps(spelling)[1:-1] not in shown
    assert shown.count("[hidden]") >= 3
    assert "failed" in shown


@pytest.mark.parametrize("debug", [False, True])
def test_a_configured_secret_is_in_no_field_either(hidden: None, debug: bool) -> None:
    class Odd:
        def __repr__(self) -> str:
            return "<Odd url-token>"

    record = logging.LogRecord("ours", logging.ERROR, __file__, 1, "", (), None)
    record.msg = {
        "event": "x",
        "text": "url-token",
        "nested": {"url-token": ["url-token", ("limits-pass",)]},
        "odd": Odd(),
        "number": 17,
    }
    record._from_structlog, record._logger, record._name = True, None, "error"
    shown = line_handler(debug=debug).format(record)
    assert "url-token" not in shown
    assert "limits-pass" not in shown
    assert "17" in shown


@pytest.mark.usefixtures("hidden")
def test_a_short_secret_leaves_the_lines_readable() -> None:
    logs.hide(secrets_of(load_settings({**CONFIGURED, "REDIS_PASSWORD": "a"})))
    assert json.loads(line("a failure"))["event"] == "a failure"


@pytest.mark.usefixtures("hidden")
def test_a_secret_like_a_word_of_ours_leaves_the_lines_in_one_shape() -> None:
    logs.hide(["event", "level", '", "'])
    assert {"event", "level", "logger"} <= json.loads(line("it happened")).keys()


@pytest.mark.parametrize("name", ["urllib3.connection", "urllib3.connectionpool", "httpx"])
def test_clients_of_other_servers_say_nothing(name: str) -> None:
    configure_logs(debug=False)
    assert not logging.getLogger(name).isEnabledFor(logging.ERROR)
