"""The `Idempotency-Key` header: a repeated creating request gets the first one's response.

Who creates stores the response (core/members/idempotency.py); only successes have one.
"""

import re
from collections.abc import Callable
from hashlib import sha256
from typing import Any

from flask import Response, request
from marshmallow import ValidationError

from core.members.idempotency import AlreadyStored, IdempotentRequest
from web.guards.tokens import current_principal
from web.http.responses import encode
from web.state import services

HEADER = "Idempotency-Key"
REPLAYED_HEADER = "Idempotency-Replayed"
MAX_KEY_LENGTH = 255
KEY_PATTERN = rf"^[!-~]{{1,{MAX_KEY_LENGTH}}}$"
# Shown once: a repeated response has null there, and the database nothing.
SECRET_FIELDS = frozenset({"secret", "token"})

Dump = Callable[[Any], Any]


def is_requested() -> bool:
    """Whether the client wants this request to be repeatable."""
    return HEADER in request.headers


def respond_once(respond: Callable[[], Response], dump: Dump, status: int) -> Response:
    """The response to a creating request, or the stored one to an earlier one like it."""
    asked = _request()
    stored = services().idempotency.response_to(asked)
    if stored is None:
        try:
            with services().idempotency.storing(asked, lambda made: encode(_kept(dump(made)))):
                return respond()
        except AlreadyStored:
            stored = services().idempotency.response_to(asked)
    return Response(
        stored, status=status, content_type="application/json", headers={REPLAYED_HEADER: "true"}
    )


def _request() -> IdempotentRequest:
    key = request.headers[HEADER]
    if not re.fullmatch(KEY_PATTERN, key):
        raise ValidationError(
            {HEADER: [f"Must be 1 to {MAX_KEY_LENGTH} visible ASCII characters."]}
        )
    return IdempotentRequest(
        principal_id=current_principal(),
        operation=f"{request.method} {request.path}",
        key=key,
        body_hash=sha256(request.get_data()).digest(),
    )


def _kept(document: dict[str, Any]) -> dict[str, Any]:
    return {name: None if name in SECRET_FIELDS else part for name, part in document.items()}
