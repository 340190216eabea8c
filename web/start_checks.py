"""Logs at a start what is wrong with the servers. It stops nothing: they may come up later."""

from threading import Thread

import structlog

from core.config import Settings
from core.operations.server_checks import Finding, check_servers
from worker import broker_check

log = structlog.get_logger(__name__)


def start(settings: Settings) -> None:
    """Check in the background."""
    Thread(target=log_findings, args=(settings,), name="start-checks", daemon=True).start()


def log_findings(settings: Settings) -> None:
    """Check all servers, and log a line for each problem."""
    for server, finding in check_servers(settings):
        _log(server, finding)
    if problem := broker_check.check():
        _log("broker", Finding(problem))


def _log(server: str, finding: Finding) -> None:
    write = log.error if finding.is_fatal else log.warning
    write("server_check_failed", server=server, problem=finding.sentence)
