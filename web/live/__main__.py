"""The live process: `python -m web.live`."""

import asyncio
import os
import signal
import socket

import structlog

from core import descriptors, metrics
from core.bootstrap import Services, bootstrap
from core.config import ConfigError, load_settings
from core.logs import configure_logs
from core.publishing import publishing
from web.live.showing import Showing
from web.live.taking_over import AlreadyRunning, Reception, listening

log = structlog.get_logger(__name__)

# Descriptors for the servers, the log and connections that are being handed in.
_SPARE_DESCRIPTORS = 128
# Where bids and frames want the same core, bids come first.
_NICENESS = 5


def main() -> None:
    """Serve until SIGTERM or SIGINT. Stops with a sentence when it cannot start."""
    try:
        settings = load_settings()
    except ConfigError as error:
        raise SystemExit(f"Flashbid cannot start: {error}") from None
    configure_logs(debug=settings.debug)
    os.nice(_NICENESS)
    services, path = bootstrap(settings), settings.live_socket
    try:
        with (
            listening(path) as listener,
            publishing(metrics.REGISTRY, settings.metrics_folder, "live"),
        ):
            asyncio.run(_serve(services, listener))
    except AlreadyRunning:
        raise SystemExit(f"A live process listens on {path} already.") from None
    except OSError as error:
        reason = error.strerror or error
        raise SystemExit(f"Cannot listen on LIVE_SOCKET, {path}: {reason}.") from None


async def _serve(services: Services, listener: socket.socket) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    showing = Showing(services)
    limit = min(services.settings.live_max_watchers, descriptors.raise_limit() - _SPARE_DESCRIPTORS)
    reception = Reception(listener, showing, max_watchers=limit)
    log.info("live_process_serves", max_watchers=limit)
    async with asyncio.TaskGroup() as group:
        jobs = [group.create_task(showing.run()), group.create_task(reception.run())]
        await stop.wait()
        for job in jobs:
            job.cancel()
    await reception.close()


if __name__ == "__main__":
    main()
