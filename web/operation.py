"""One decorator for every route: who may call it, what it takes, what it answers.

The declaration does the work at run time and is what the OpenAPI document is made of,
so the two cannot drift apart.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from typing import Any

from flask import Response, request
from marshmallow import Schema

from core import errors
from web.answers import encode
from web.body import read_json
from web.fields import parse_uuid
from web.tokens import Auth, authorize

View = Callable[..., Any]
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
    # Statuses that carry the same schema as the answer (a health check's 503).
    also: tuple[int, ...] = ()


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
                arguments |= declaration.body.load(read_json(request))
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
