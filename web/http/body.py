"""Reads JSON request bodies within the size limit; decimals keep all their digits."""

import json
from decimal import Decimal
from typing import Any

from flask import Request
from werkzeug.exceptions import RequestEntityTooLarge
from werkzeug.http import parse_options_header

from core import errors

# A route may declare less (web/guards/operation.py).
MAX_BODY_BYTES = 64 * 1024
MAX_ACCOUNT_BYTES = 4 * 1024
MAX_BID_BYTES = 1024
_COMMON_TYPES = frozenset({"application/json", "application/json; charset=utf-8"})


class MalformedJson(Exception):
    """The body is not JSON."""


class NotUtf8(MalformedJson):
    """The body is in another encoding than UTF-8."""


class RepeatedField(MalformedJson):
    """An object has a field twice: readers do not agree which of them counts."""


class UnsupportedMediaType(Exception):
    """The Content-Type is not JSON."""


class UnsupportedEncoding(UnsupportedMediaType):
    """The body is compressed, or encoded otherwise."""


class BodyTooLarge(errors.Refusal):
    """The body is longer than its route allows."""

    def __init__(self, max_bytes: int) -> None:
        super().__init__(f"The body is too large: at most {max_bytes} bytes.")


def read_json(request: Request, max_bytes: int) -> Any:
    """The request's decoded JSON body."""
    headers = request.headers
    require_json(headers.get("Content-Type", ""), headers.get("Content-Encoding", ""))
    return decode(read(request, max_bytes), max_bytes)


def read(request: Request, max_bytes: int) -> bytes | None:
    """The complete body; None when it is too long. Kept: an Idempotency-Key needs its hash."""
    request.max_content_length = max_bytes
    try:
        return request.get_data()
    except RequestEntityTooLarge:
        return None


def require_json(content_type: str, content_encoding: str) -> None:
    """Raises UnsupportedMediaType unless the body is JSON, and encoded in no other way."""
    if content_encoding and content_encoding.strip().lower() not in ("", "identity"):
        raise UnsupportedEncoding
    if content_type in _COMMON_TYPES:
        return
    kind = parse_options_header(content_type)[0].lower()
    if kind != "application/json" and not (
        kind.startswith("application/") and kind.endswith("+json")
    ):
        raise UnsupportedMediaType


def decode(body: bytes | None, max_bytes: int) -> Any:
    """Decode JSON: fractions as Decimal, no NaN or Infinity. None stands for a too long body.

    Raises BodyTooLarge or MalformedJson.
    """
    if body is None:
        raise BodyTooLarge(max_bytes)
    try:
        # In UTF-16 and UTF-32 the first characters of a JSON document have zero bytes.
        if b"\0" in body[:4]:
            raise NotUtf8
        return json.loads(
            body.decode("utf-8-sig"),
            parse_float=Decimal,
            parse_constant=_refuse,
            object_pairs_hook=_as_object,
        )
    except UnicodeDecodeError:
        raise NotUtf8 from None
    except (ValueError, RecursionError, ArithmeticError):
        raise MalformedJson from None


def _refuse(constant: str) -> Any:
    raise ValueError(f"{constant} is not JSON")


def _as_object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    decoded = dict(pairs)
    if len(decoded) < len(pairs):
        raise RepeatedField
    return decoded
