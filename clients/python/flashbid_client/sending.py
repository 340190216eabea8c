"""Sends requests, and again those that are safe to repeat."""

import random
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, is_dataclass
from http import HTTPStatus
from typing import Any, TypeVar

import httpx
import msgspec

from flashbid_client.errors import FlashbidError, Refused, Unreachable
from flashbid_client.models import Problem

T = TypeVar("T")
FIRST_PAUSE_SECONDS = 0.2
LONGEST_PAUSE_SECONDS = 5.0
# Refused before anything was done, so that any request may be sent again.
UNTOUCHED = {"rate_limited", "overloaded", "backlog_full"}
# A price must reach the service with the digits that the caller wrote.
_encoder = msgspec.json.Encoder(decimal_format="number")


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One request. `is_repeatable`: sending it twice does what sending it once does."""

    method: str
    path: str
    is_repeatable: bool
    body: object = None
    params: Mapping[str, Any] | None = None
    headers: Mapping[str, str] | None = None


class Sender:
    """Sends calls over kept connections. Threads may share it."""

    def __init__(
        self,
        base_url: str,
        *,
        timeout_seconds: float,
        patience_seconds: float,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self.token: str | None = None
        self._patience_seconds = patience_seconds
        self._http = httpx.Client(base_url=base_url, timeout=timeout_seconds, transport=transport)

    def close(self) -> None:
        """Close all connections."""
        self._http.close()

    def send(self, call: Call) -> httpx.Response:
        """The answer of a success. Raises Refused or Unreachable.

        Until the patience is over, a call that may be repeated is: after the service's
        Retry-After, or after a pause that grows.
        """
        give_up_at = time.monotonic() + self._patience_seconds
        pause = FIRST_PAUSE_SECONDS
        while True:
            try:
                return self._send_once(call)
            except FlashbidError as error:
                # Many clients that failed at once must not come back at once.
                wait = max(pause * random.uniform(0.5, 1.0), _asked_pause(error))  # noqa: S311 - spread, not secret
                if not _may_repeat(call, error) or time.monotonic() + wait > give_up_at:
                    raise
            time.sleep(wait)
            pause = min(2 * pause, LONGEST_PAUSE_SECONDS)

    def _send_once(self, call: Call) -> httpx.Response:
        headers = {"Accept": "application/json", **(call.headers or {})}
        if self.token:
            headers["Authorization"] = f"Bearer {self.token}"
        content = None
        if call.body is not None:
            headers["Content-Type"] = "application/json"
            content = _encoder.encode(_fields(call.body))
        try:
            response = self._http.request(
                call.method, call.path, content=content, params=call.params, headers=headers
            )
        except httpx.TransportError as error:
            raise Unreachable(f"{call.method} {call.path}: {error}") from error
        if response.status_code >= HTTPStatus.BAD_REQUEST:
            raise Refused(_problem(response), _retry_after(response))
        return response


def parsed(response: httpx.Response, kind: type[T]) -> T:
    """The answer as an object of this type. Raises Unreachable if it is not one."""
    try:
        return msgspec.json.decode(response.content, type=kind)
    except msgspec.DecodeError as error:
        raise Unreachable(f"The answer is not of this API: {error}") from error


def _may_repeat(call: Call, error: FlashbidError) -> bool:
    if isinstance(error, Refused):
        is_passing = error.retry_after_seconds is not None or error.status in {
            HTTPStatus.BAD_GATEWAY,
            HTTPStatus.SERVICE_UNAVAILABLE,
            HTTPStatus.GATEWAY_TIMEOUT,
        }
        return error.code in UNTOUCHED or (call.is_repeatable and is_passing)
    return call.is_repeatable


def _asked_pause(error: FlashbidError) -> float:
    return (error.retry_after_seconds or 0.0) if isinstance(error, Refused) else 0.0


def _fields(body: object) -> Any:
    """A dataclass without the fields that were left out, for which the service has defaults."""
    if is_dataclass(body) and not isinstance(body, type):
        return {name: value for name, value in asdict(body).items() if value is not None}
    return body


def _problem(response: httpx.Response) -> Problem:
    """The answer's problem; of an answer that has none, such as a proxy's, one without a code."""
    try:
        return msgspec.json.decode(response.content, type=Problem)
    except msgspec.DecodeError:
        title = response.reason_phrase
        detail = f"{response.request.method} {response.request.url} was answered {title}."
        return Problem(
            type="about:blank",
            title=title,
            status=response.status_code,
            detail=detail,
            code="",
            request_id=response.headers.get("X-Request-ID", ""),
        )


def _retry_after(response: httpx.Response) -> float | None:
    text = response.headers.get("Retry-After", "")
    return float(text) if text.isascii() and text.isdigit() else None
