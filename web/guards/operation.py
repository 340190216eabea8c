"""One decorator for every route: who may call it, what it takes, what it answers.

The declaration does the work at run time and is what the OpenAPI document is made of,
so the two cannot drift apart.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass, is_dataclass
from functools import wraps
from typing import Any

from flask import Response, request
from marshmallow import Schema

from core import errors
from web.guards.rate_limits import Limit, admit
from web.guards.tokens import Auth, authorize, current_actor
from web.http import body
from web.http.answers import encode
from web.http.fields import parse_uuid
from web.state import services

View = Callable[..., Any]
# Bids have a limit of their own, and admins are trusted.
_USUAL_LIMITS = {Auth.PUBLIC: Limit.READ, Auth.MEMBER: Limit.MEMBER_READ}
# What an id in a path names, by its parameter.
_NOT_FOUND: dict[str, type[errors.Refusal]] = {
    "session_id": errors.SessionNotFound,
    "notification_id": errors.NotificationNotFound,
}


@dataclass(frozen=True, slots=True)
class Operation:
    """What a route declares."""

    auth: Auth
    body: Schema | None = None
    query: Schema | None = None
    answer: Schema | None = None
    # What the answer is when it is no JSON document; the view then gives its bytes.
    media: str | None = None
    status: int = 200
    # The answer is a list with its whole length in X-Total-Count; views give both.
    counted: bool = False
    refuses: tuple[type[Exception], ...] = ()
    # Readers are limited by what they are; None: as is usual for the auth.
    limit: Limit | None = None
    # Statuses that carry the same schema as the answer (a health check's 503).
    also: tuple[int, ...] = ()

    @property
    def counts_as(self) -> Limit:
        """Which limit the operation is under."""
        return _USUAL_LIMITS.get(self.auth, Limit.NONE) if self.limit is None else self.limit


def operation(**declared: Any) -> Callable[[View], View]:
    """Declare a route. Its view gets what was checked and returns what is to be dumped."""
    declaration = Operation(**declared)

    def decorate(view: View) -> View:
        @wraps(view)
        def endpoint(**path: str) -> Response:
            authorize(declaration.auth)
            arguments: dict[str, Any] = {name: path_id(name, text) for name, text in path.items()}
            if declaration.query is not None:
                arguments |= declaration.query.load(request.args.to_dict())
            if declaration.body is not None:
                arguments |= declaration.body.load(body.read_json(request))
            admit(declaration.counts_as, arguments.get("username", ""))
            if declaration.auth is Auth.ADMIN and request.method != "GET":
                return _respond(declaration, _recorded(view, arguments))
            return _respond(declaration, view(**arguments))

        endpoint.operation = declaration  # type: ignore[attr-defined]
        return endpoint

    return decorate


def path_id(name: str, text: str) -> Any:
    """A malformed id in a path names nothing that exists."""
    try:
        return parse_uuid(text)
    except ValueError:
        raise _NOT_FOUND[name] from None


def _recorded(view: View, arguments: dict[str, Any]) -> Any:
    """Call a view that changes something for an admin, with a record of who asked for what."""
    asked = {name: _for_the_record(value) for name, value in arguments.items()}
    recording = services().admin_actions.recording(current_actor(), view.__name__, asked)
    with recording as details:
        result = view(**arguments)
        ids = (name for name in ("session_id", "product_id") if hasattr(result, name))
        details.update((name, str(getattr(result, name))) for name in ids)
    return result


def _for_the_record(value: Any) -> Any:
    """As JSON: a body's parts as text, with the digits that were sent."""
    if is_dataclass(value) and not isinstance(value, type):
        return {name: str(part) for name, part in asdict(value).items()}
    return None if value is None else str(value)


def _respond(declaration: Operation, result: Any) -> Response:
    status, total = declaration.status, None
    if declaration.counted:
        result, total = result
    if declaration.also:
        result, status = result
    if declaration.media is not None:
        response = Response(result, status=status, content_type=declaration.media)
    elif declaration.answer is None:
        response = Response(status=status)
    else:
        # A view may answer bytes that it keeps, dumped by the same schema.
        text = result if isinstance(result, bytes) else encode(declaration.answer.dump(result))
        response = Response(text, status=status, content_type="application/json")
    if total is not None:
        response.headers["X-Total-Count"] = str(total)
    return response
