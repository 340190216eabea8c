"""gunicorn's worker: uvicorn with our protocols at its documented extension points."""

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
from web.http import responses

GRACEFUL_SECONDS = 8
# How long a thread may compute before another one's turn; Python's own default is 5 ms.
_SWITCH_SECONDS = 0.001
# For Redis, PostgreSQL, logs and metrics.
_RESERVED_DESCRIPTORS = 200


def max_connections() -> int:
    """Connections a process may have open. Raises its file descriptor limit."""
    return min(10_000, open_files.raise_limit() - _RESERVED_DESCRIPTORS)


class Worker(UvicornWorker):  # type: ignore[misc]
    """gunicorn's worker."""

    CONFIG_KWARGS: ClassVar[dict[str, Any]] = {
        "loop": "uvloop",
        "http": HttpProtocol,
        "ws": WatcherProtocol,
        "ws_max_size": MAX_MESSAGE_BYTES,
        # All watchers share one encoded frame; compression is per connection.
        "ws_per_message_deflate": False,
        "interface": "asgi3",
        "lifespan": "on",
        # We write our own access log (web/http/access_log.py).
        "access_log": False,
        # The application reads forwarded addresses, if TRUSTED_PROXIES is set.
        "proxy_headers": False,
        "server_header": False,
        "timeout_graceful_shutdown": GRACEFUL_SECONDS,
    }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # uvicorn's warnings and errors use the format of all log lines.
        logger = logging.getLogger("uvicorn.error")
        logger.propagate = True
        logger.setLevel(logging.WARNING)
        # Each turn of a thread delays the event loop, and so bids, by this much.
        sys.setswitchinterval(_SWITCH_SECONDS)
        common_headers.update(responses.common_headers(load_settings()))
        connections.max_open = max_connections()

    def init_signals(self) -> None:
        """Exit cleanly like gunicorn's own workers; uvicorn would re-raise the signal."""
        super().init_signals()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, _exit)


def _exit(number: int, _frame: object) -> None:
    """Exit, once: gunicorn repeats the signal."""
    signal.signal(number, signal.SIG_IGN)
    sys.exit()
