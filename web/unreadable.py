"""Answers what gunicorn could not read as a request, in the one shape that all errors have."""

from contextlib import suppress
from typing import Any

import structlog
from gunicorn.http.errors import (
    ConfigurationProblem,
    ExpectationFailed,
    InvalidResponseHeader,
    InvalidResponseHeaderName,
    LimitRequestHeaders,
    LimitRequestLine,
    ParseException,
    UnsupportedTransferCoding,
)
from gunicorn.util import write_nonblock

from web.answers import name_request
from web.early_refusal import bytes_of
from web.errors import HEAD_TOO_LARGE, INTERNAL_ERROR, Problem, problem_answer

log = structlog.get_logger(__name__)

_PROBLEMS: dict[type[Exception], Problem] = {
    ParseException: Problem(
        400,
        "bad_request",
        "This cannot be read as HTTP. In an address, write spaces and letters beyond ASCII "
        "percent-encoded, like %20.",
    ),
    LimitRequestLine: Problem(414, "bad_request", "The address is too long."),
    ExpectationFailed: Problem(417, "bad_request", "Only 100-continue can be expected."),
    LimitRequestHeaders: HEAD_TOO_LARGE,
    UnsupportedTransferCoding: Problem(
        501, "bad_request", "A body comes with its length, or chunked."
    ),
    **dict.fromkeys(
        (ConfigurationProblem, InvalidResponseHeader, InvalidResponseHeaderName), INTERNAL_ERROR
    ),
}


def refuse(client: Any, address: Any, error: Exception) -> None:
    """Tell a client what is wrong with its request; gunicorn closes the connection then."""
    request_id = name_request({})
    kinds = type(error).__mro__
    problem = next((_PROBLEMS[kind] for kind in kinds if kind in _PROBLEMS), INTERNAL_ERROR)
    if problem is INTERNAL_ERROR:
        log.error("unhandled_error", exc_info=error)
    else:
        # Without its words: they quote the request, and that may have a token in it.
        reason, host = type(error).__name__, address[0] if address else ""
        log.warning("request_unreadable", reason=reason, client=host)
    with suppress(OSError):
        write_nonblock(client, bytes_of(problem_answer(problem, request_id), request_id))
