"""Structured logs: one line per event, a constant name and fields."""

import logging
import re
import sys
from contextvars import ContextVar
from typing import Any

import structlog
from structlog.types import EventDict, Processor

# Of the current request, or of the one that enqueued the current job.
request_id: ContextVar[str] = ContextVar("request_id", default="")

# Our code does not log these, but messages of libraries and servers may quote them.
_SECRETS = re.compile(
    r"""eyJ[\w-]{8,}\.[\w-]+\.[\w-]+         # a token
      | [\w.+%-]+@[\w-]+(?:\.[\w-]+)+        # an e-mail address
      | (?<=://)[^\s/@]*:[^\s/@]+(?=@)       # user and password of a URL
    """,
    re.VERBOSE,
)
_HIDDEN = "[hidden]"
# Gunicorn quotes unreadable requests, which may be the rest of a body with a password. No
# pattern would match that.
_UNREADABLE = "Invalid request from "
_QUOTATION = re.compile(r"""b?['"].*""", re.DOTALL)


def configure_logs(*, debug: bool) -> None:
    """Log JSON lines to standard error; readable ones with DEBUG."""
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
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
    for noisy in ("alembic", "kombu", "amqp", "urllib3", "websockets", "asyncio"):
        logging.getLogger(noisy).setLevel(logging.WARNING)


def line_handler(*, debug: bool) -> logging.Handler:
    """Writes one line per event, of our code and of libraries."""
    renderer: Processor = (
        structlog.dev.ConsoleRenderer() if debug else structlog.processors.JSONRenderer()
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=_shared_processors(),
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                _hide_quotation,
                renderer,
                _hide_secrets,
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


def _add_request_id(_logger: Any, _method: str, event: EventDict) -> EventDict:
    if name := request_id.get():
        event.setdefault("request_id", name)
    return event


def _hide_quotation(_logger: Any, _method: str, event: EventDict) -> EventDict:
    text = str(event["event"])
    if text.startswith(_UNREADABLE):
        event["event"] = _QUOTATION.sub(_HIDDEN, text)
    return event


def _hide_secrets(_logger: Any, _method: str, line: Any) -> Any:
    return _SECRETS.sub(_HIDDEN, line)
