"""Error responses: one table of errors, one JSON shape (RFC 9457, application/problem+json)."""

from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

import structlog
from flask import Flask, Response, g, request
from marshmallow import ValidationError
from marshmallow.exceptions import SCHEMA
from werkzeug.exceptions import HTTPException

from core import errors, outages
from core.members import roles
from web.guards import rate_limits, tokens
from web.http import body, buckets
from web.http.requests import UpgradeRequired
from web.http.responses import ApiResponse, encode
from web.http.statuses import title_of

log = structlog.get_logger(__name__)

# Enough to see who is attacked from where, and too few to fill a disk.

PROBLEM_TYPE_PREFIX = "urn:flashbid:problem:"


@dataclass(frozen=True, slots=True)
class Problem:
    """The response to one kind of error. `detail` None: the error's own message."""

    status: int
    code: str
    detail: str | None = None
    headers: tuple[tuple[str, str], ...] = ()


_TOKEN_MISSING = Problem(
    401, "token_missing", "Send your login token as `Authorization: Bearer <token>`."
)
_UNAVAILABLE = Problem(
    503,
    "temporarily_unavailable",
    "The service is unavailable right now, and your request is not confirmed. "
    "Try again in a few seconds: repeating a bid is safe.",
)
# Also sent by web/front/overload.py, before Flask.
OVERLOADED = Problem(
    503,
    "overloaded",
    "The service is overloaded. Your request was not processed: a bid in it was not accepted. "
    "Try again in a few seconds.",
)
# Sent by web/front/http.py, before Flask.
REQUEST_TIMEOUT = Problem(
    408, "request_timeout", "The request did not arrive completely in time. Try again."
)
# Also sent by web/front/websocket.py. The headers are those of RFC 9110 and RFC 6455, 4.4.
UPGRADE_REQUIRED = Problem(
    426,
    "upgrade_required",
    "This address is a WebSocket. Open it with GET, `Connection: Upgrade`, `Upgrade: websocket`, "
    "`Sec-WebSocket-Version: 13` and a `Sec-WebSocket-Key`, as WebSocket libraries do.",
    (("Connection", "Upgrade"), ("Upgrade", "websocket"), ("Sec-WebSocket-Version", "13")),
)
HEAD_TOO_LARGE = Problem(
    431, "bad_request", "The URL or the headers are too long, or there are too many headers."
)
# Sent by web/front/sockets.py, before Flask.
ORIGIN_NOT_ALLOWED = Problem(
    403,
    "origin_not_allowed",
    "Pages of this origin may not watch boards. The shop lists the others in CORS_ORIGINS.",
)
INTERNAL_ERROR = Problem(
    500,
    "internal_error",
    "Something went wrong on our side. If it happens again, report the request_id.",
)

UNREADABLE = Problem(
    400,
    "bad_request",
    "This is not a valid HTTP request. In a URL, percent-encode spaces and non-ASCII letters, "
    "like %20.",
)

PROBLEMS: dict[type[Exception], Problem] = {
    body.MalformedJson: Problem(400, "malformed_json", "The body is not valid JSON."),
    body.NotUtf8: Problem(400, "malformed_json", "The body is not UTF-8. Send JSON in UTF-8."),
    body.RepeatedField: Problem(
        400, "malformed_json", "An object in the body has the same field twice. Send it once."
    ),
    errors.InvalidCredentials: Problem(401, "invalid_credentials"),
    errors.TokenInvalid: Problem(401, "token_invalid"),
    errors.TokenRevoked: Problem(401, "token_revoked"),
    tokens.TokenMissing: _TOKEN_MISSING,
    errors.TokenExpired: Problem(401, "token_expired"),
    errors.AccountDisabled: Problem(403, "account_disabled"),
    errors.AdminRequired: Problem(403, "admin_required"),
    errors.ScopeMissing: Problem(403, "scope_missing"),
    errors.SessionNotFound: Problem(404, "session_not_found"),
    errors.ProductNotFound: Problem(404, "product_not_found"),
    errors.NoBid: Problem(404, "no_bid"),
    errors.NotificationNotFound: Problem(404, "notification_not_found"),
    errors.DeliveryNotFound: Problem(404, "delivery_not_found"),
    errors.EndpointNotFound: Problem(404, "endpoint_not_found"),
    errors.EndpointBySetting: Problem(409, "endpoint_by_setting"),
    errors.InvalidWebhookUrl: Problem(422, "validation_failed"),
    errors.InvalidImageUrl: Problem(422, "validation_failed"),
    errors.AccountNotFound: Problem(404, "account_not_found"),
    errors.OwnAccount: Problem(409, "own_account"),
    errors.OfferNotFound: Problem(404, "offer_not_found"),
    errors.OfferExpired: Problem(409, "offer_expired"),
    errors.OfferSettled: Problem(409, "offer_settled"),
    errors.ExportNotFound: Problem(404, "export_not_found"),
    errors.ExportFileMissing: Problem(404, "export_not_found"),
    errors.ExportNotReady: Problem(409, "export_not_ready"),
    errors.BidsArchived: Problem(409, "bids_archived"),
    errors.ExportFailed: Problem(409, "export_failed"),
    errors.ResultsTooLarge: Problem(409, "results_too_large"),
    errors.UsernameTaken: Problem(409, "username_taken"),
    errors.EmailTaken: Problem(409, "email_taken"),
    errors.SessionNotStarted: Problem(409, "session_not_started"),
    errors.SessionInactive: Problem(409, "session_inactive"),
    errors.SessionEnded: Problem(409, "session_ended"),
    errors.SessionCancelled: Problem(409, "session_cancelled"),
    errors.SessionAlreadyStarted: Problem(409, "session_already_started"),
    errors.VersionConflict: Problem(409, "version_conflict"),
    errors.SessionNotEnded: Problem(409, "session_not_ended"),
    errors.ResultsPending: Problem(409, "results_pending"),
    body.UnsupportedMediaType: Problem(
        415, "unsupported_media_type", "Send a JSON body with `Content-Type: application/json`."
    ),
    body.UnsupportedEncoding: Problem(
        415,
        "unsupported_media_type",
        "Send the JSON body as it is: without compression, and without `Content-Encoding`.",
        (("Accept-Encoding", "identity"),),
    ),
    body.BodyTooLarge: Problem(413, "body_too_large"),
    UpgradeRequired: UPGRADE_REQUIRED,
    ValidationError: Problem(422, "validation_failed"),
    errors.InvalidTerms: Problem(422, "validation_failed"),
    errors.WeakPassword: Problem(422, "validation_failed"),
    errors.IdempotencyKeyReused: Problem(422, "idempotency_key_reused"),
    errors.PriceBelowUpset: Problem(422, "price_below_upset"),
    errors.PriceBelowStanding: Problem(409, "price_below_standing"),
    errors.ScoreWouldDrop: Problem(409, "score_would_drop"),
    errors.RateLimited: Problem(429, "rate_limited"),
    rate_limits.TooManyRequests: Problem(429, "rate_limited"),
    buckets.TooMany: Problem(429, "rate_limited"),
    errors.Unconfirmed: Problem(503, "temporarily_unavailable"),
    errors.TemporarilyUnavailable: Problem(503, "temporarily_unavailable"),
    errors.BidNotTaken: Problem(503, "temporarily_unavailable"),
    errors.OutcomeUnknown: Problem(503, "outcome_unknown"),
    errors.BacklogFull: Problem(503, "backlog_full"),
    roles.RedisNotUpdated: Problem(
        503,
        "temporarily_unavailable",
        "The account is enabled, but Redis is unreachable and still refuses its tokens. Send this "
        "again in a few seconds; the nightly job does it otherwise.",
    ),
    errors.ServiceBusy: OVERLOADED,
    **dict.fromkeys(outages.ALL, _UNAVAILABLE),
}

# Errors raised by Flask itself, by status. All others are `bad_request`.
HTTP_PROBLEMS: dict[int, Problem] = {
    400: Problem(400, "malformed_json", "The request is malformed."),
    404: Problem(404, "not_found", "Nothing exists at this URL. See /docs."),
    405: Problem(405, "method_not_allowed", "This URL does not support this method. See /docs."),
    413: Problem(413, "body_too_large", "The body is too large."),
    415: Problem(415, "unsupported_media_type", "Send a JSON body."),
    416: Problem(
        416,
        "range_not_satisfiable",
        "The file has no such bytes, or several ranges were asked for. `Content-Range` has its "
        "length; ask for one range.",
    ),
}
_OUTAGE_RETRY_AFTER_SECONDS = 2


def register_error_handlers(app: Flask) -> None:
    """Give every error the same shape of response."""
    for kind in PROBLEMS:
        app.register_error_handler(kind, _handle_error)
    app.register_error_handler(HTTPException, _handle_http_error)
    app.register_error_handler(Exception, _handle_error)


def problem_of(kind: type[Exception]) -> Problem:
    """The entry for an error class or its nearest base class."""
    return next((PROBLEMS[base] for base in kind.__mro__ if base in PROBLEMS), INTERNAL_ERROR)


def error_response(error: Exception, *, request_id: str, path: str, client: str) -> ApiResponse:
    """The response to an error. Logs outages, unexpected errors and attempts to get in."""
    if problem_of(type(error)) is INTERNAL_ERROR:
        log.error("unhandled_error", path=path, exc_info=error)
    _log_outage(error)
    _log_attempt(error, client)
    return describe_error(error, request_id)


def describe_error(error: Exception, request_id: str) -> ApiResponse:
    """The response to an error, without a log line."""
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
    elif problem.status == HTTPStatus.SERVICE_UNAVAILABLE:
        retry_after = _OUTAGE_RETRY_AFTER_SECONDS
    if "errors" in extra:
        detail = _first_message(extra["errors"])
    response = problem_response(problem, request_id, detail=detail, **extra)
    if retry_after is not None:
        response.headers["Retry-After"] = str(retry_after)
    return response


def _first_message(messages: Any) -> str:
    """The first field's message with its path, like "price: Must be a number."."""
    path = []
    while isinstance(messages, dict):
        name, messages = next(iter(messages.items()))
        path.append(str(name))
    message = messages[0] if isinstance(messages, list) else messages
    names = [name for name in path if name != SCHEMA]
    return f"{'.'.join(names)}: {message}" if names else str(message)


def _handle_error(error: Exception) -> Response:
    return _respond(
        error_response(
            error,
            request_id=g.get("request_id", ""),
            path=request.path,
            client=request.remote_addr or "",
        )
    )


def _handle_http_error(error: HTTPException) -> Response:
    if error.code is None or error.code < HTTPStatus.BAD_REQUEST:
        return Response.force_type(error.get_response())  # type: ignore[return-value]
    problem = HTTP_PROBLEMS.get(error.code) or Problem(
        error.code, "bad_request", error.description or "The request is not valid."
    )
    response = problem_response(problem, g.get("request_id", ""))
    response.headers.update(
        (name, value) for name, value in error.get_headers() if name in ("Allow", "Content-Range")
    )
    return _respond(response)


def _respond(response: ApiResponse) -> Response:
    g.outcome = response.outcome
    return Response(response.body, status=response.status, headers=response.headers)


def _log_outage(error: Exception) -> None:
    """Log the outage behind an error, once: a database error has the driver's as its cause."""
    for cause in (error, error.__cause__):
        if isinstance(cause, outages.ALL):
            log.error("outage", kind=type(cause).__name__, reason=outages.reason_of(cause))
            return


def _log_attempt(error: Exception, client: str) -> None:
    """Log a failed login or a forged token: by account, with nothing that was typed.

    A name without an account may be a password in the wrong field, so it is left out.
    """
    match error:
        case errors.InvalidCredentials(username=None):
            log.warning("login_failed", reason="unknown_account", client=client)
        case errors.InvalidCredentials(username=name):
            log.warning("login_failed", reason="password", username=name, client=client)
        case errors.AccountDisabled(username=str(name)):
            log.warning("login_failed", reason="disabled", username=name, client=client)
        case errors.TokenInvalid(reason=str(reason), claimed_id=claimed):
            claim = {} if claimed is None else {"claimed_user_id": str(claimed)}
            log.warning("token_forged", reason=reason, **claim, client=client)


def problem_response(
    problem: Problem, request_id: str, *, detail: str | None = None, **extra: Any
) -> ApiResponse:
    """The response to a problem."""
    text = encode(
        {
            "type": PROBLEM_TYPE_PREFIX + problem.code,
            "title": title_of(problem.status),
            "status": problem.status,
            "detail": detail or problem.detail,
            "code": problem.code,
            "request_id": request_id,
            **extra,
        }
    )
    headers = {"Content-Type": "application/problem+json", **dict(problem.headers)}
    if problem.status == HTTPStatus.UNAUTHORIZED:
        headers["WWW-Authenticate"] = "Bearer"
    return ApiResponse(text, problem.status, problem.code, headers)
