"""Serves files of the pages, as they are, with what HTTP knows to spare sending them again."""

from contextlib import suppress

from flask import Response, request, send_from_directory
from werkzeug.http import parse_date

# No date, and no tag of a file's: it is as if the client had nothing of the file.
_NOTHING = "none"


def send(folder: str, name: str, *, max_age: int | None = None) -> Response:
    """The folder's file of this name, or 404. Nothing outside the folder is ever served."""
    for header in ("HTTP_IF_MODIFIED_SINCE", "HTTP_IF_RANGE"):
        with suppress(KeyError):
            if _is_beyond_dates(request.environ[header]):
                request.environ[header] = _NOTHING
    return send_from_directory(folder, name, max_age=max_age)


def _is_beyond_dates(text: str) -> bool:
    """Whether it is written as a date, but of no day that can be. Werkzeug would raise."""
    try:
        parse_date(text)
    except OverflowError:
        return True
    return False
