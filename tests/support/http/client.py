"""A small HTTP client on a kept connection: lighter than the service that is under test."""

import json
import time
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from typing import Any

from dev.stack import wait_until

TEST_METRICS_TOKEN = "a-token-for-prometheus"
# The headers with which Prometheus reads /metrics.
SCRAPER = {"Authorization": f"Bearer {TEST_METRICS_TOKEN}"}
TIMEOUT_SECONDS = 15.0
RETRY_PAUSE_SECONDS = 0.05
# Generous: the machine may be busy. What it takes is printed.
RESULTS_TIMEOUT_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Client:
    """Calls the API, as the owner of `token` when there is one."""

    def __init__(self, port: int, token: str | None = None, user_id: str = "") -> None:
        self.token, self.user_id = token, user_id
        self.broken_connections = 0
        self._connection = HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_SECONDS)

    def get(self, path: str) -> Answer:
        return self._call("GET", path)

    def post(self, path: str, **body: Any) -> Answer:
        return self._call("POST", path, body)

    def put(self, path: str, **body: Any) -> Answer:
        return self._call("PUT", path, body or None)

    def patch(self, path: str, **body: Any) -> Answer:
        return self._call("PATCH", path, body)

    def bid(self, session_id: str, price: float) -> Answer:
        return self.post("/api/bid", session_id=session_id, price=price)

    def bid_until_answered(self, session_id: str, price: float) -> Answer:
        """Repeat a bid over a broken connection, as every client may: the price replays."""
        while True:
            try:
                return self.bid(session_id, price)
            except (OSError, HTTPException):
                self._connection.close()
                self.broken_connections += 1
                time.sleep(RETRY_PAUSE_SECONDS)

    def close(self) -> None:
        self._connection.close()

    def _call(self, method: str, path: str, body: Any = None) -> Answer:
        headers = {"Content-Type": "application/json"} if body is not None else {}
        if self.token:
            headers["Authorization"] = f"Bearer {self.token}"
        self._connection.request(method, path, None if body is None else json.dumps(body), headers)
        response = self._connection.getresponse()
        return Answer(response.status, dict(response.getheaders()), response.read())


def scrape(port: int) -> str:
    """The metrics of the web process at this port."""
    with closing(HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_SECONDS)) as connection:
        connection.request("GET", "/metrics", headers=SCRAPER)
        response = connection.getresponse()
        assert response.status == 200
        return response.read().decode()


def final_results(client: Client, session_id: str) -> dict[str, Any]:
    """Wait for a session's results."""
    answers: list[Answer] = []

    def are_final() -> bool:
        answers.append(client.get(f"/api/results/{session_id}"))
        return answers[-1].status == 200

    assert wait_until(are_final, RESULTS_TIMEOUT_SECONDS), answers[-1]
    return answers[-1].json
