"""From errors to answers: one table, one JSON shape (RFC 9457, application/problem+json)."""

from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

import structlog
from flask import Flask, Response, g, request
from jwt.exceptions import ExpiredSignatureError
from marshmallow import ValidationError
from werkzeug.exceptions import HTTPException

from core import errors, outages
from web.guards import rate_limits, tokens
from web.http import body
from web.http.answers import Answer, encode

log = structlog.get_logger(__name__)

PROBLEM_TYPE_PREFIX = "urn:flashbid:problem:"


@dataclass(frozen=True, slots=True)
class Problem:
    """How one kind of error is answered. `detail` None: the error's own sentence."""

    status: int
    code: str
    detail: str | None = None


_TOKEN_MISSING = Problem(
    401, "token_missing", "Send the token from login as `Authorization: Bearer <token>`."
)
_UNAVAILABLE = Problem(
    503,
    "temporarily_unavailable",
    "The service cannot take this at the moment and did not confirm it. "
    "Send it again in a few seconds: repeating a bid is safe.",
)
# Answered in front of Flask, by web/front/overload.py.
OVERLOADED = Problem(
    503,
    "overloaded",
    "There are more requests than can be served in time. This one was not looked at: "
    "a bid in it was not accepted. Send it again in a few seconds.",
)
# Likewise, by web/front/server.py.
REQUEST_TIMEOUT = Problem(
    408, "request_timeout", "The rest of this request did not come in time. Send it again."
)
HEAD_TOO_LARGE = Problem(
    431, "bad_request", "There are too many headers, or one of them is too long."
)
INTERNAL_ERROR = Problem(
    500, "internal_error", "Something went wrong here. Report the request_id if it happens again."
)

UNREADABLE = Problem(
    400,
    "bad_request",
    "This cannot be read as HTTP. In an address, write spaces and letters beyond ASCII "
    "percent-encoded, like %20.",
)
_BODY_TOO_LARGE = Problem(
    413, "body_too_large", f"A body may have at most {body.MAX_BODY_BYTES} bytes."
)

PROBLEMS: dict[type[Exception], Problem] = {
    body.MalformedJson: Problem(400, "malformed_json", "The body is not a JSON document."),
    errors.InvalidCredentials: Problem(401, "invalid_credentials"),
    errors.TokenInvalid: Problem(401, "token_invalid"),
    errors.TokenRevoked: Problem(401, "token_revoked"),
    tokens.TokenMissing: _TOKEN_MISSING,
    ExpiredSignatureError: Problem(401, "token_expired", "This token has expired. Log in again."),
    errors.AccountDisabled: Problem(403, "account_disabled"),
    errors.AdminRequired: Problem(403, "admin_required"),
    errors.SessionNotFound: Problem(404, "session_not_found"),
    errors.ProductNotFound: Problem(404, "product_not_found"),
    errors.NoBid: Problem(404, "no_bid"),
    errors.NotificationNotFound: Problem(404, "notification_not_found"),
    errors.DeliveryNotFound: Problem(404, "delivery_not_found"),
    errors.AccountNotFound: Problem(404, "account_not_found"),
    errors.UsernameTaken: Problem(409, "username_taken"),
    errors.EmailTaken: Problem(409, "email_taken"),
    errors.SessionNotStarted: Problem(409, "session_not_started"),
    errors.SessionInactive: Problem(409, "session_inactive"),
    errors.SessionEnded: Problem(409, "session_ended"),
    errors.SessionNotEnded: Problem(409, "session_not_ended"),
    errors.ResultsPending: Problem(409, "results_pending"),
    body.UnsupportedMediaType: Problem(
        415, "unsupported_media_type", "Send a JSON body with `Content-Type: application/json`."
    ),
    body.BodyTooLarge: _BODY_TOO_LARGE,
    ValidationError: Problem(
        422, "validation_failed", "Some fields are missing or wrong; `errors` names them."
    ),
    errors.InvalidTerms: Problem(422, "validation_failed"),
    errors.PriceBelowUpset: Problem(422, "price_below_upset"),
    errors.RateLimited: Problem(429, "rate_limited"),
    rate_limits.TooManyRequests: Problem(429, "rate_limited"),
    errors.Unconfirmed: Problem(503, "temporarily_unavailable"),
    errors.TemporarilyUnavailable: Problem(503, "temporarily_unavailable"),
    errors.BidNotTaken: Problem(503, "temporarily_unavailable"),
    errors.OutcomeUnknown: Problem(503, "outcome_unknown"),
    errors.BacklogFull: Problem(503, "backlog_full"),
    **dict.fromkeys(outages.ALL, _UNAVAILABLE),
}

# What Flask itself refuses, by status. Everything else of the kind is `bad_request`.
HTTP_PROBLEMS: dict[int, Problem] = {
    400: Problem(400, "malformed_json", "The request could not be read."),
    404: Problem(404, "not_found", "There is nothing at this address. See /docs."),
    405: Problem(405, "method_not_allowed", "This address does not take this method. See /docs."),
    413: _BODY_TOO_LARGE,
    415: Problem(415, "unsupported_media_type", "Send a JSON body."),
}
_OUTAGE_RETRY_AFTER_SECONDS = 2


def register_error_handlers(app: Flask) -> None:
    """Answer every error in one shape."""
    for kind in PROBLEMS:
        app.register_error_handler(kind, _answer)
    app.register_error_handler(HTTPException, _answer_http)
    app.register_error_handler(Exception, _answer)


def problem_of(kind: type[Exception]) -> Problem:
    """The table's row for an error class or the nearest of its bases."""
    return next((PROBLEMS[base] for base in kind.__mro__ if base in PROBLEMS), INTERNAL_ERROR)


def answer_to(error: Exception, *, request_id: str, path: str) -> Answer:
    """The answer to an error, wherever it was raised; what is not a refusal is logged."""
    problem = problem_of(type(error))
    extra: dict[str, Any] = {}
    retry_after = None
    detail = problem.detail
    if isinstance(error, errors.Refusal):
        extra = error.extra
        retry_after = error.retry_after_seconds
        detail = detail or error.detail
    elif isinstance(error, ValidationError):
        extra = {"errors": error.normalized_messages()}  # type: ignore[no-untyped-call]
    elif problem is INTERNAL_ERROR:
        log.error("unhandled_error", path=path, exc_info=error)
    elif problem.status == HTTPStatus.SERVICE_UNAVAILABLE:
        retry_after = _OUTAGE_RETRY_AFTER_SECONDS
    for outage in (error, error.__cause__):
        if isinstance(outage, outages.ALL):
            _report_outage(outage)
    answer = problem_answer(problem, request_id, detail=detail, **extra)
    if retry_after is not None:
        answer.headers["Retry-After"] = str(retry_after)
    return answer


def _answer(error: Exception) -> Response:
    return _respond(answer_to(error, request_id=g.get("request_id", ""), path=request.path))


def _answer_http(error: HTTPException) -> Response:
    if error.code is None or error.code < HTTPStatus.BAD_REQUEST:
        return Response.force_type(error.get_response())  # type: ignore[return-value]
    problem = HTTP_PROBLEMS.get(error.code) or Problem(
        error.code, "bad_request", error.description or "The request was refused."
    )
    answer = problem_answer(problem, g.get("request_id", ""))
    answer.headers.update((name, value) for name, value in error.get_headers() if name == "Allow")
    return _respond(answer)


def _respond(answer: Answer) -> Response:
    g.outcome = answer.outcome
    return Response(answer.body, status=answer.status, headers=answer.headers)


def _report_outage(outage: Exception) -> None:
    # Redis says plainly what ails it; a database error may carry SQL and its values.
    reason = str(outage) if isinstance(outage, outages.REDIS) else None
    log.error("outage", kind=type(outage).__name__, reason=reason)


def problem_answer(
    problem: Problem, request_id: str, *, detail: str | None = None, **extra: Any
) -> Answer:
    """A problem's answer, in the one shape that all have."""
    text = encode(
        {
            "type": PROBLEM_TYPE_PREFIX + problem.code,
            "title": HTTPStatus(problem.status).phrase,
            "status": problem.status,
            "detail": detail or problem.detail,
            "code": problem.code,
            "request_id": request_id,
            **extra,
        }
    )
    headers = {"Content-Type": "application/problem+json"}
    if problem.status == HTTPStatus.UNAUTHORIZED:
        headers["WWW-Authenticate"] = "Bearer"
    return Answer(text, problem.status, problem.code, headers)
