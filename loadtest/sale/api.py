"""A simple API client for creating sessions, watching and reading results.

Uses one connection at a time; the generators have their own clients.
"""

import json
import time
from contextlib import closing
from email.utils import parsedate_to_datetime
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from typing import Any
from urllib.parse import SplitResult, urlsplit

from loadtest.errors import LoadTestError

TIMEOUT_SECONDS = 10.0
PAGE_SIZE = 100
POLL_SECONDS = 0.3
# For a limit to allow the next request, and how often to wait for it.
LIMITED_SECONDS = 1.0
LIMITED_TRIES = 60


class Unreachable(Exception):
    """The host did not respond."""


class Refused(LoadTestError):
    """The API refused a request."""

    def __init__(self, method: str, path: str, status: int, problem: dict[str, Any]) -> None:
        self.status = status
        self.code = str(problem.get("code", ""))
        detail = problem.get("detail") or f"HTTP status {status}."
        super().__init__(f"{method} {path} was refused: {detail}")


class Api:
    """Calls one host, authenticated if there is a token."""

    def __init__(self, host: str, token: str | None = None) -> None:
        self.host = host.rstrip("/")
        self.token = token
        self._address = _address(self.host)

    def get(self, path: str) -> Any:
        return self.call("GET", path)

    def call(self, method: str, path: str, body: Any = None) -> Any:
        """The response's JSON. Raises Refused or Unreachable."""
        status, _, answer = self._exchange(method, path, body)
        if status >= 400:
            raise Refused(method, path, status, answer if isinstance(answer, dict) else {})
        return answer

    def server_time(self) -> float:
        """The server's clock in whole seconds since 1970; ours without a Date header."""
        _, date, _ = self._exchange("GET", "/health", None)
        return parsedate_to_datetime(date).timestamp() if date else time.time()

    def is_healthy(self) -> bool:
        try:
            return bool(self.get("/health")["status"] == "healthy")
        except (Unreachable, Refused, KeyError, TypeError):
            return False

    def wait_for_results(self, session_id: str, timeout_seconds: float) -> dict[str, Any]:
        """Wait for the final results. Raises LoadTestError after the timeout."""
        deadline = time.monotonic() + timeout_seconds
        while time.monotonic() < deadline:
            try:
                return self.results(session_id)
            except Unreachable:
                time.sleep(POLL_SECONDS)
            except Refused as refused:
                if refused.code not in {"results_pending", "session_not_ended"}:
                    raise
                time.sleep(POLL_SECONDS)
        raise LoadTestError(
            f"The results of session {session_id} were not available within "
            f"{timeout_seconds:.0f} seconds. Are the closer and beat running?"
        )

    def results(self, session_id: str) -> dict[str, Any]:
        """The results with all pages of the rankings."""
        path = f"/api/results/{session_id}?page_size={PAGE_SIZE}&page="
        results: dict[str, Any] = self.get(f"{path}1")
        for page in range(2, results["total_pages"] + 1):
            results["rankings"] += self._get_patiently(f"{path}{page}")["rankings"]
        return results

    def _get_patiently(self, path: str) -> Any:
        """`get`, again while a limit refuses it: a large sale has more pages than may be read
        at once.
        """
        for _ in range(LIMITED_TRIES):
            try:
                return self.get(path)
            except Refused as refused:
                if refused.code != "rate_limited":
                    raise
                time.sleep(LIMITED_SECONDS)
        return self.get(path)

    def _exchange(self, method: str, path: str, body: Any) -> tuple[int, str | None, Any]:
        headers = {"Accept": "application/json"}
        if self.token:
            headers["Authorization"] = f"Bearer {self.token}"
        if body is not None:
            headers["Content-Type"] = "application/json"
        text = None if body is None else json.dumps(body)
        try:
            with closing(self._connection()) as connection:
                connection.request(method, self._address.path + path, body=text, headers=headers)
                response = connection.getresponse()
                return response.status, response.headers.get("Date"), _json(response)
        except (OSError, HTTPException) as error:
            raise Unreachable(f"{self.host} does not answer: {error}") from None

    def _connection(self) -> HTTPConnection:
        kind = HTTPSConnection if self._address.scheme == "https" else HTTPConnection
        return kind(
            self._address.hostname or "", self._address.port or None, timeout=TIMEOUT_SECONDS
        )


def _json(response: HTTPResponse) -> Any:
    try:
        return json.loads(response.read() or b"null")
    except ValueError:
        return None


def _address(host: str) -> SplitResult:
    try:
        address = urlsplit(host)
        valid = address.scheme in {"http", "https"} and address.hostname and address.port != 0
    except ValueError:
        valid = False
    if not valid:
        raise LoadTestError(f"{host!r} is not an address like http://127.0.0.1:8000.")
    return address
