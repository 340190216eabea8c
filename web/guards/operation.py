"""One decorator for every route: authorisation, request schemas, response schema, limits.

The same declaration is enforced at run time and generates the OpenAPI document, so the two
cannot differ.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass, is_dataclass
from functools import partial, wraps
from http import HTTPStatus
from typing import Any

from flask import Flask, Response, request
from marshmallow import Schema

from core import errors
from web.guards import idempotency
from web.guards.rate_limits import Limit, counted_unread, enforce_limit
from web.guards.tokens import Auth, authorize, current_actor
from web.http import body
from web.http.body import MAX_BODY_BYTES
from web.http.fields import parse_uuid
from web.http.responses import encode
from web.state import services

View = Callable[..., Any]
# Bids have their own limit; admins have none.
_USUAL_LIMITS = {Auth.PUBLIC: Limit.READ, Auth.MEMBER: Limit.MEMBER_READ}
# The error for an unknown id, by path parameter.
_NOT_FOUND: dict[str, type[errors.Refusal]] = {
    "session_id": errors.SessionNotFound,
    "notification_id": errors.NotificationNotFound,
    "endpoint_id": errors.EndpointNotFound,
    "delivery_id": errors.DeliveryNotFound,
    "offer_id": errors.OfferNotFound,
    "export_id": errors.ExportNotFound,
    "user_id": errors.AccountNotFound,
}


@dataclass(frozen=True, slots=True)
class Operation:
    """A route's declaration."""

    auth: Auth
    # The scope with which an API key may call the route; None: not by keys.
    scope: str | None = None
    body: Schema | None = None
    max_body_bytes: int = MAX_BODY_BYTES
    query: Schema | None = None
    response: Schema | None = None
    # Set when the response is not JSON; the view then returns bytes.
    media_type: str | None = None
    # Further types of text that the response may have; the view then returns a Response.
    also_media_types: tuple[str, ...] = ()
    status: int = 200
    # The view returns a list and the total number of items, sent in X-Total-Count.
    paged: bool = False
    refuses: tuple[type[Exception], ...] = ()
    # None: the default for the auth.
    limit: Limit | None = None
    # Further statuses with the same response schema (a health check's 503).
    also_statuses: tuple[int, ...] = ()

    @property
    def effective_limit(self) -> Limit:
        """The limit that applies to the operation."""
        return _USUAL_LIMITS.get(self.auth, Limit.NONE) if self.limit is None else self.limit

    @property
    def is_repeatable(self) -> bool:
        """Whether the operation creates something for an admin and heeds `Idempotency-Key`.

        Whoever creates must call core.members.idempotency.store_response.
        """
        return self.auth is Auth.ADMIN and self.status == HTTPStatus.CREATED


def operation(**declared: Any) -> Callable[[View], View]:
    """Declare a route. Its view gets validated arguments and returns an object to dump."""
    declaration = Operation(**declared)

    def decorate(view: View) -> View:
        @wraps(view)
        def endpoint(**path: str) -> Response:
            authorize(declaration.auth, declaration.scope)
            arguments = _read_counted(declaration, path)
            respond = partial(_call, declaration, view, arguments)
            if declaration.is_repeatable and idempotency.is_requested():
                dump = declaration.response.dump  # type: ignore[union-attr]
                return idempotency.respond_once(respond, dump, declaration.status)
            return respond()

        endpoint.operation = declaration  # type: ignore[attr-defined]
        return endpoint

    return decorate


def body_limits(app: Flask) -> dict[str, int]:
    """The declared limits of bodies by path, for the server to stop reading there."""
    declared = {
        rule.rule: getattr(app.view_functions[rule.endpoint], "operation", None)
        for rule in app.url_map.iter_rules()
    }
    return {path: each.max_body_bytes for path, each in declared.items() if each is not None}


def _read_counted(declaration: Operation, path: dict[str, str]) -> dict[str, Any]:
    """The view's arguments. The request counts before anything of it is parsed, but for the
    name in its body, by which it counts as well.
    """
    limit = declaration.effective_limit
    if declaration.body is None:
        enforce_limit(limit)
        return _read(declaration, path)
    with counted_unread(limit):
        arguments = _read(declaration, path)
    enforce_limit(limit, arguments.get("username", ""))
    return arguments


def _read(declaration: Operation, path: dict[str, str]) -> dict[str, Any]:
    arguments: dict[str, Any] = {name: path_id(name, text) for name, text in path.items()}
    if declaration.query is not None:
        arguments |= declaration.query.load(request.args.to_dict())
    if declaration.body is not None:
        arguments |= declaration.body.load(body.read_json(request, declaration.max_body_bytes))
    return arguments


def path_id(name: str, text: str) -> Any:
    """An id in a path; a malformed one is not found, like an unknown one."""
    try:
        return parse_uuid(text)
    except ValueError:
        raise _NOT_FOUND[name] from None


def _call(declaration: Operation, view: View, arguments: dict[str, Any]) -> Response:
    if declaration.auth is Auth.ADMIN and request.method != "GET":
        return _respond(declaration, _call_recorded(view, arguments))
    return _respond(declaration, view(**arguments))


def _call_recorded(view: View, arguments: dict[str, Any]) -> Any:
    """Call a view that changes something, and record it in the admin log."""
    arguments_record = {name: _as_record(value) for name, value in arguments.items()}
    recording = services().admin_actions.recording(current_actor(), view.__name__, arguments_record)
    with recording as details:
        result = view(**arguments)
        ids = (name for name in ("session_id", "product_id") if hasattr(result, name))
        details.update((name, str(getattr(result, name))) for name in ids)
    return result


def _as_record(value: Any) -> Any:
    """An argument as JSON; numbers as text, with all digits that were sent."""
    if is_dataclass(value) and not isinstance(value, type):
        return {name: str(part) for name, part in asdict(value).items()}
    if isinstance(value, dict):
        return {name: str(part) for name, part in value.items()}
    return None if value is None else str(value)


def _respond(declaration: Operation, result: Any) -> Response:
    if isinstance(result, Response):
        return result
    status, total = declaration.status, None
    if declaration.paged:
        result, total = result
    if declaration.also_statuses:
        result, status = result
    if declaration.media_type is not None:
        response = Response(result, status=status, content_type=declaration.media_type)
    elif declaration.response is None:
        response = Response(status=status)
    else:
        # A view may return cached bytes, dumped earlier by the same schema.
        text = result if isinstance(result, bytes) else encode(declaration.response.dump(result))
        response = Response(text, status=status, content_type="application/json")
    if total is not None:
        response.headers["X-Total-Count"] = str(total)
    return response
