"""Structured logs: one line per event, a constant name and fields."""

import json
import logging
import os
import re
import sys
import threading
from collections.abc import Hashable, Iterable
from contextlib import suppress
from contextvars import ContextVar
from typing import Any
from urllib.parse import quote, quote_plus

import structlog
from structlog.types import EventDict, ExcInfo, Processor

from core.telemetry.repeats import LINES, SUCCESSES, TRACEBACKS, Repeats

log = structlog.get_logger(__name__)

_repeats: Repeats | None = None
# Of the current request, or of the one that enqueued the current job.
request_id: ContextVar[str] = ContextVar("request_id", default="")

# Our code does not log these, but messages of libraries and servers may quote them.
_SECRETS = re.compile(
    r"""eyJ[\w-]{8,}\.[\w-]+\.[\w-]+         # a token
      | fbk_[\w-]{8,}                        # an API key
      | [\w.+%-]+@[\w-]+(?:\.[\w-]+)+        # an e-mail address
      | (?<=://)[^\s/@]*:[^\s/@]+(?=@)       # user and password of a URL
    """,
    re.VERBOSE,
)
_HIDDEN = "[hidden]"
# Added by `hide`, in every spelling.
_configured: set[str] = set()
_hidden_texts: re.Pattern[str] | None = None
_PLAIN_TYPES = (bool, int, float, type(None))
# Gunicorn quotes unreadable requests, which may be the rest of a body with a password. No
# pattern would match that.
_UNREADABLE = "Invalid request from "
_QUOTATION = re.compile(r"""b?['"].*""", re.DOTALL)


def hide(secrets: Iterable[str]) -> None:
    """Replace these texts in every line of this process from now on."""
    global _hidden_texts  # noqa: PLW0603 - logging is configured once per process
    _configured.update(spelling for secret in secrets for spelling in _spellings(secret))
    if _configured:
        # The longest first: one may be part of another.
        ordered = sorted(_configured, key=len, reverse=True)
        _hidden_texts = re.compile("|".join(map(re.escape, ordered)))


def _spellings(secret: str) -> set[str]:
    """How libraries may write it: as it is, in a URL, quoted, as bytes."""
    return {
        secret,
        quote(secret),
        quote(secret, safe=""),
        quote_plus(secret),
        repr(secret)[1:-1],
        repr(secret.encode())[2:-1],
        json.dumps(secret)[1:-1],
    }


def configure_logs(*, debug: bool) -> None:
    """Log JSON lines to standard error; readable ones with DEBUG."""
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            _bound_repeats,
            *_shared_processors(),
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    root = logging.getLogger()
    root.handlers[:] = [line_handler(debug=debug)]
    root.setLevel(logging.DEBUG if debug else logging.INFO)
    # Their debug and info lines are for their own developers.
    for noisy in ("alembic", "kombu", "amqp", "websockets", "asyncio"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    # Clients of servers outside quote addresses and URLs; their errors reach us as exceptions.
    for talkative in ("urllib3", "requests", "httpx", "httpcore", "aiosmtplib"):
        logging.getLogger(talkative).setLevel(logging.CRITICAL)


def log_everything() -> None:
    """Write lines also of warnings and of errors that nobody catches, and bound repeated lines.
    For processes of our own: a test runner has such hooks itself, and looks for each line.
    """
    global _repeats  # noqa: PLW0603 - one per process, like the logging module's state
    _repeats = _repeats or Repeats(_report_left_out)
    logging.captureWarnings(capture=True)
    sys.excepthook = lambda *error: _log_uncaught(error)
    threading.excepthook = lambda of: _log_uncaught((of.exc_type, of.exc_value, of.exc_traceback))  # type: ignore[arg-type]
    sys.unraisablehook = lambda of: _log_uncaught((of.exc_type, of.exc_value, of.exc_traceback))  # type: ignore[arg-type]


def write_line(event: str, **fields: str) -> None:
    """Write a line without the logging module, as in a signal's handler."""
    with suppress(OSError):
        os.write(sys.__stderr__.fileno(), f"{json.dumps({'event': event, **fields})}\n".encode())  # type: ignore[union-attr]


def _log_uncaught(error: ExcInfo) -> None:
    if issubclass(error[0], KeyboardInterrupt):
        return
    log.critical("uncaught_error", exc_info=error)


class _LineHandler(logging.StreamHandler):  # type: ignore[type-arg]
    """A line that cannot be formatted becomes another one, no traceback on standard error."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - logging's own name
        error = sys.exc_info()[1]
        write_line("log_line_failed", logger=record.name, reason=type(error).__name__)


def line_handler(*, debug: bool) -> logging.Handler:
    """Writes one line per event, of our code and of libraries."""
    renderer: Processor = (
        structlog.dev.ConsoleRenderer() if debug else structlog.processors.JSONRenderer()
    )
    handler = _LineHandler(sys.stderr)
    handler.addFilter(_is_admitted)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=_shared_processors(),
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                _hide_quotation,
                _hide_secrets,
                renderer,
            ],
        )
    )
    return handler


def _shared_processors() -> list[Processor]:
    return [
        structlog.contextvars.merge_contextvars,
        _add_request_id,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        # Format errors here: a renderer might show local variables.
        structlog.processors.format_exc_info,
    ]


def _report_left_out(kind: Hashable, count: int) -> None:
    log.warning(_LEFT_OUT, of=" ".join(str(part) for part in kind if part), count=count)  # type: ignore[attr-defined]


_LEFT_OUT = "lines_left_out"
# Lines that differ in one of these are of different kinds.
_KIND_FIELDS = ("outcome", "status", "kind", "policy", "job")
_UNBOUNDED = "is_unbounded"


def unbounded(logger: Any) -> Any:
    """The logger, but each of its lines is written."""
    return logger.bind(**{_UNBOUNDED: True})


def _bound_repeats(_logger: Any, _method: str, event: EventDict) -> EventDict:
    """Drop our own line if there are too many of its kind, before it costs more."""
    if event.pop(_UNBOUNDED, False) or _repeats is None or event["event"] == _LEFT_OUT:
        return event
    kind = (event["event"], *(event.get(name) for name in _KIND_FIELDS))
    allowance = SUCCESSES if event.get("outcome") == "ok" else LINES
    if not _repeats.admit(kind, TRACEBACKS if event.get("exc_info") else allowance):
        raise structlog.DropEvent
    return event


def _is_admitted(record: logging.LogRecord) -> bool:
    """Whether to write a library's line. Its kind is the place in the code that wrote it."""
    if _repeats is None or hasattr(record, "_logger"):  # ours, admitted already
        return True
    kind = (record.name, f"{record.filename}:{record.lineno}")
    return _repeats.admit(kind, TRACEBACKS if record.exc_info else LINES)


def _add_request_id(_logger: Any, _method: str, event: EventDict) -> EventDict:
    if name := request_id.get():
        event.setdefault("request_id", name)
    return event


def _hide_quotation(_logger: Any, _method: str, event: EventDict) -> EventDict:
    text = str(event["event"])
    if text.startswith(_UNREADABLE):
        event["event"] = _QUOTATION.sub(_HIDDEN, text)
    return event


def _hide_secrets(_logger: Any, _method: str, event: EventDict) -> EventDict:
    """Hide secrets in all values, tracebacks too. The names of fields are our own."""
    return {name: _without_secrets(value) for name, value in event.items()}


def _without_secrets(value: Any) -> Any:
    if isinstance(value, str):
        shown = _SECRETS.sub(_HIDDEN, value)
        return _hidden_texts.sub(_HIDDEN, shown) if _hidden_texts else shown
    if isinstance(value, _PLAIN_TYPES):
        return value
    if isinstance(value, dict):
        return {_without_secrets(name): _without_secrets(each) for name, each in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_without_secrets(each) for each in value]
    # The renderer would show its repr.
    return _without_secrets(repr(value))
