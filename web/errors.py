"""From errors to answers: one table, one JSON shape (RFC 9457, application/problem+json)."""

from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

import structlog
from flask import Flask, Response, g, request
from jwt.exceptions import ExpiredSignatureError
from marshmallow import ValidationError
from werkzeug.exceptions import HTTPException

from core import errors
from web import body, tokens
from web.answers import Answer, encode

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
INTERNAL_ERROR = Problem(
    500, "internal_error", "Something went wrong here. Report the request_id if it happens again."
)

PROBLEMS: dict[type[Exception], Problem] = {
    body.MalformedJson: Problem(400, "malformed_json", "The body is not a JSON document."),
    errors.InvalidCredentials: Problem(401, "invalid_credentials"),
    errors.TokenInvalid: Problem(401, "token_invalid"),
    errors.TokenRevoked: Problem(401, "token_revoked"),
    tokens.TokenMissing: _TOKEN_MISSING,
    ExpiredSignatureError: Problem(401, "token_expired", "This token has expired. Log in again."),
    errors.AdminRequired: Problem(403, "admin_required"),
    errors.SessionNotFound: Problem(404, "session_not_found"),
    errors.ProductNotFound: Problem(404, "product_not_found"),
    errors.NoBid: Problem(404, "no_bid"),
    errors.NotificationNotFound: Problem(404, "notification_not_found"),
    errors.DeliveryNotFound: Problem(404, "delivery_not_found"),
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
    ValidationError: Problem(
        422, "validation_failed", "Some fields are missing or wrong; `errors` names them."
    ),
    errors.InvalidTerms: Problem(422, "validation_failed"),
    errors.PriceBelowUpset: Problem(422, "price_below_upset"),
    errors.RateLimited: Problem(429, "rate_limited"),
    errors.Unconfirmed: Problem(503, "temporarily_unavailable"),
    errors.TemporarilyUnavailable: Problem(503, "temporarily_unavailable"),
    **dict.fromkeys(errors.OUTAGES, _UNAVAILABLE),
}

# What Flask itself refuses, by status. Everything else of the kind is `bad_request`.
HTTP_PROBLEMS: dict[int, Problem] = {
    400: Problem(400, "malformed_json", "The request could not be read."),
    404: Problem(404, "not_found", "There is nothing at this address. See /docs."),
    405: Problem(405, "method_not_allowed", "This address does not take this method. See /docs."),
    413: Problem(413, "body_too_large", f"A body may have at most {body.MAX_BODY_BYTES} bytes."),
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
        log.error("unhandled_error", path=path, request_id=request_id, exc_info=error)
    elif problem.status == HTTPStatus.SERVICE_UNAVAILABLE:
        # Redis says plainly what ails it; a database error may carry SQL and its values.
        reason = str(error) if isinstance(error, errors.REDIS_OUTAGES) else None
        log.error("outage", kind=type(error).__name__, reason=reason)
        retry_after = _OUTAGE_RETRY_AFTER_SECONDS
    answer = _problem_answer(problem, detail or "", request_id, extra)
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
    answer = _problem_answer(problem, problem.detail or "", g.get("request_id", ""), {})
    answer.headers.update((name, value) for name, value in error.get_headers() if name == "Allow")
    return _respond(answer)


def _respond(answer: Answer) -> Response:
    body.discard(request)
    return Response(answer.body, status=answer.status, headers=answer.headers)


def _problem_answer(
    problem: Problem, detail: str, request_id: str, extra: dict[str, Any]
) -> Answer:
    text = encode(
        {
            "type": PROBLEM_TYPE_PREFIX + problem.code,
            "title": HTTPStatus(problem.status).phrase,
            "status": problem.status,
            "detail": detail,
            "code": problem.code,
            "request_id": request_id,
            **extra,
        }
    )
    headers = {"Content-Type": "application/problem+json"}
    if problem.status == HTTPStatus.UNAUTHORIZED:
        headers["WWW-Authenticate"] = "Bearer"
    return Answer(text, problem.status, headers)
