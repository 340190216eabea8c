"""Serves static files with HTTP caching."""

from contextlib import suppress

from flask import Response, request, send_from_directory
from werkzeug.http import parse_date

# Neither a date nor a file's ETag: the client gets the complete file.
_NO_MATCH = "none"


def send(folder: str, name: str, *, max_age: int | None = None) -> Response:
    """The folder's file of this name, or 404. Never serves files outside the folder."""
    for header in ("HTTP_IF_MODIFIED_SINCE", "HTTP_IF_RANGE"):
        with suppress(KeyError):
            if _is_out_of_range(request.environ[header]):
                request.environ[header] = _NO_MATCH
    return send_from_directory(folder, name, max_age=max_age)


def _is_out_of_range(text: str) -> bool:
    """Whether Werkzeug would raise on this date, since it is out of range."""
    try:
        parse_date(text)
    except OverflowError:
        return True
    return False
