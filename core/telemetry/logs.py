"""Structured logs: a constant event name and fields, one line each."""

import logging
import re
import sys
from contextvars import ContextVar
from typing import Any

import structlog
from structlog.types import EventDict, Processor

# Of the request that is being answered, or that a job goes back to.
request_id: ContextVar[str] = ContextVar("request_id", default="")

# No code logs these, but messages of libraries and servers may quote what they were given.
_SECRETS = re.compile(
    r"""eyJ[\w-]{8,}\.[\w-]+\.[\w-]+         # a token
      | [\w.+%-]+@[\w-]+(?:\.[\w-]+)+        # an e-mail address
      | (?<=://)[^\s/@]*:[^\s/@]+(?=@)       # user and password of a URL
    """,
    re.VERBOSE,
)
_HIDDEN = "[hidden]"
# Gunicorn quotes what it cannot read, and that may be a part of a body that is longer than
# it says. A password in there has no shape to know it by.
_UNREADABLE = "Invalid request from "
_QUOTATION = re.compile(r"""b?['"].*""", re.DOTALL)


def configure_logs(*, debug: bool) -> None:
    """JSON lines on standard error; readable ones while DEBUG is on."""
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
    # Their step-by-step lines are for whoever works on them.
    for noisy in ("alembic", "kombu", "amqp", "urllib3", "websockets", "asyncio"):
        logging.getLogger(noisy).setLevel(logging.WARNING)


def line_handler(*, debug: bool) -> logging.Handler:
    """Writes whatever is logged, by us or by a library, one line an event."""
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
        # To text at once: a renderer that formats errors itself may show local variables.
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
