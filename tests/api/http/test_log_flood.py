"""A flood of refused bids does not flood the log of a real gunicorn."""

import json
import time
from collections import Counter
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest

from core.telemetry.repeats import LINES
from tests.api.conftest import CheckedClient
from tests.api.routes.test_service import closed_port
from tests.support.factories import Shop
from tests.support.http.serving import logging_to

__all__ = ["closed_port"]

FLOOD = 1000


def flood(port: int, body: str, token: str) -> tuple[Counter[int], float]:
    """Statuses of many bids on one connection, and the seconds they took."""
    headers = {"Authorization": token, "Content-Type": "application/json"}
    statuses: Counter[int] = Counter()
    began = time.monotonic()
    connection = HTTPConnection("127.0.0.1", port, timeout=60)
    for _ in range(FLOOD):
        connection.request("POST", "/api/bid", body, headers)
        response = connection.getresponse()
        response.read()
        statuses[response.status] += 1
    connection.close()
    return statuses, time.monotonic() - began


def lines_of(log: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in log.read_text().splitlines()]


@pytest.mark.parametrize("choice", ["lean", "all"])
def test_refused_bids_write_few_lines_and_a_count(
    shop: Shop, member: CheckedClient, tmp_path: Path, closed_port: int, choice: str
) -> None:
    log = tmp_path / "log"
    body = json.dumps({"session_id": str(shop.session().session_id), "price": 150})
    token = member.environ_base["HTTP_AUTHORIZATION"]
    away = {"REDIS_HOST": "127.0.0.1", "REDIS_PORT": str(closed_port), "ACCESS_LOG": choice}
    with logging_to(log, **away) as port:
        statuses, seconds = flood(port, body, token)
    assert statuses == {503: FLOOD}
    lines = lines_of(log)
    written = [line for line in lines if line["event"] == "request"]
    left_out = sum(
        line["count"]
        for line in lines
        if line["event"] == "lines_left_out" and line["of"].startswith("request ")
    )
    assert len(written) + left_out == FLOOD
    if choice == "all":
        assert len(written) == FLOOD
    else:
        assert len(written) <= LINES.burst + LINES.per_second * seconds + 1


@pytest.mark.usefixtures("settings")
def test_a_start_says_what_is_wrong_with_the_servers(tmp_path: Path, closed_port: int) -> None:
    log = tmp_path / "log"
    away = {"REDIS_HOST": "127.0.0.1", "REDIS_PORT": str(closed_port), "POSTGRES_DB": "nothing"}
    broker = f"redis://127.0.0.1:{closed_port}/0"
    with logging_to(log, **away, CELERY_BROKER_URL=broker):
        while log.read_text().count("server_check_failed") < 3:
            time.sleep(0.05)
    found = {
        line["server"]: line["problem"]
        for line in lines_of(log)
        if line["event"] == "server_check_failed"
    }
    assert 'database "nothing" does not exist' in found["postgresql"]
    assert "Connection refused" in found["redis"]
    assert "CELERY_BROKER_URL" in found["broker"]
