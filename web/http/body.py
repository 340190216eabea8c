"""Reads JSON request bodies within the size limit; decimals keep all their digits."""

import json
from decimal import Decimal
from typing import Any

from flask import Request
from werkzeug.exceptions import RequestEntityTooLarge
from werkzeug.http import parse_options_header

MAX_BODY_BYTES = 64 * 1024
_COMMON_TYPES = frozenset({"application/json", "application/json; charset=utf-8"})


class MalformedJson(Exception):
    """The body is not JSON."""


class UnsupportedMediaType(Exception):
    """The Content-Type is not JSON."""


class BodyTooLarge(Exception):
    """The body is longer than MAX_BODY_BYTES."""


def read_json(request: Request) -> Any:
    """The request's decoded JSON body."""
    require_json(request.headers.get("Content-Type", ""))
    return decode(read(request))


def read(request: Request) -> bytes | None:
    """The complete body; None when it is too long."""
    try:
        return request.get_data(cache=False)
    except RequestEntityTooLarge:
        return None


def require_json(content_type: str) -> None:
    """Raises UnsupportedMediaType unless the Content-Type is JSON."""
    if content_type in _COMMON_TYPES:
        return
    kind = parse_options_header(content_type)[0].lower()
    if kind != "application/json" and not (
        kind.startswith("application/") and kind.endswith("+json")
    ):
        raise UnsupportedMediaType


def decode(body: bytes | None) -> Any:
    """Decode JSON: fractions as Decimal, no NaN or Infinity. None stands for a too long body."""
    if body is None:
        raise BodyTooLarge
    try:
        return json.loads(body.decode("utf-8"), parse_float=Decimal, parse_constant=_refuse)
    except (ValueError, RecursionError, ArithmeticError):
        raise MalformedJson from None


def _refuse(constant: str) -> Any:
    raise ValueError(f"{constant} is not JSON")
