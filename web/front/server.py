"""gunicorn's worker: uvicorn, with protocols of ours at its documented extension points."""

import logging
import signal
import sys
from typing import Any, ClassVar

from uvicorn_worker import UvicornWorker

from core.config import load_settings
from core.telemetry import open_files
from web.front.connections import common_headers, connections
from web.front.http import HttpProtocol
from web.front.websocket import MAX_MESSAGE_BYTES, WatcherProtocol
from web.http import answers

GRACEFUL_SECONDS = 8
# For Redis, PostgreSQL, logs and metrics.
_SPARE_DESCRIPTORS = 200


def max_connections() -> int:
    """How many connections a process may have open; raises the limit of its descriptors."""
    return min(10_000, open_files.raise_limit() - _SPARE_DESCRIPTORS)


class Worker(UvicornWorker):  # type: ignore[misc]
    """gunicorn's worker."""

    CONFIG_KWARGS: ClassVar[dict[str, Any]] = {
        "loop": "uvloop",
        "http": HttpProtocol,
        "ws": WatcherProtocol,
        "ws_max_size": MAX_MESSAGE_BYTES,
        # A frame is made once for all watchers, so it cannot be compressed for each.
        "ws_per_message_deflate": False,
        "interface": "asgi3",
        "lifespan": "on",
        # The access log is ours (web/http/access_log.py).
        "access_log": False,
        # Forwarded addresses are read by the application, when TRUSTED_PROXIES says so.
        "proxy_headers": False,
        "server_header": False,
        "timeout_graceful_shutdown": GRACEFUL_SECONDS,
    }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # Its warnings and errors are lines like everybody's.
        logger = logging.getLogger("uvicorn.error")
        logger.propagate = True
        logger.setLevel(logging.WARNING)
        common_headers.update(answers.common_headers(load_settings()))
        connections.max_open = max_connections()

    def init_signals(self) -> None:
        """Leave as gunicorn's own workers do: uvicorn ends by the signal that ended it."""
        super().init_signals()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, _leave)


def _leave(number: int, _frame: object) -> None:
    """End the process, once: gunicorn sends the signal again and again."""
    signal.signal(number, signal.SIG_IGN)
    sys.exit()
