"""Reads request bodies: JSON objects only, within the size limit, exact to the digit."""

import json
from contextlib import suppress
from decimal import Decimal
from typing import Any

from flask import Request, g
from gunicorn.http.errors import NoMoreData, ParseException
from werkzeug.exceptions import BadRequest, RequestEntityTooLarge

MAX_BODY_BYTES = 64 * 1024
# What the server raises when the chunks of a body are none, or end too soon.
_BROKEN_CHUNKS = (ParseException, NoMoreData)


class MalformedJson(Exception):
    """The body is not JSON."""


class UnsupportedMediaType(Exception):
    """The body is not announced as JSON."""


def read_json(request: Request) -> Any:
    """The request's body."""
    if not request.is_json:
        raise UnsupportedMediaType
    try:
        data = _read_within_limit(request)
    except _BROKEN_CHUNKS:
        # Without its words: they quote the body.
        raise BadRequest from None
    g.body_was_read = True
    return decode(data)


def decode(data: bytes) -> Any:
    """JSON as Python. NaN and Infinity are not JSON; fractions come as Decimal."""
    try:
        return json.loads(data.decode("utf-8"), parse_float=Decimal, parse_constant=_refuse)
    except (ValueError, RecursionError, ArithmeticError):
        raise MalformedJson from None


def _read_within_limit(request: Request) -> bytes:
    """The whole body. Straight from the server: Werkzeug's guard costs more than the JSON."""
    length = request.content_length
    if length is None:
        data = request.get_data(cache=False)
        # Werkzeug cuts a chunked body at the limit and says nothing.
        if _is_chunked(request) and request.environ["wsgi.input"].read(1):
            raise RequestEntityTooLarge
        return data
    if length > MAX_BODY_BYTES:
        raise RequestEntityTooLarge
    body: bytes = request.environ["wsgi.input"].read(length)
    return body


def discard(request: Request) -> None:
    """Read what is left of a refused body, or it would be taken for a request.

    One that is too long is left: its connection ends with the answer (web/patient_worker.py).
    """
    is_there = _is_chunked(request) or 0 < (request.content_length or 0) <= MAX_BODY_BYTES
    if is_there and not g.get("body_was_read"):
        with suppress(*_BROKEN_CHUNKS):
            request.environ["wsgi.input"].read(MAX_BODY_BYTES)


def _is_chunked(request: Request) -> bool:
    """Whether the body has no stated length; the server itself ends its stream then."""
    return request.content_length is None and "wsgi.input_terminated" in request.environ


def _refuse(constant: str) -> Any:
    raise ValueError(f"{constant} is not JSON")
