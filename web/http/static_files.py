"""Serves static files with HTTP caching."""

from contextlib import suppress
from pathlib import Path

from flask import Response, request, send_file, send_from_directory
from werkzeug.http import parse_date

# Neither a date nor a file's ETag: the client gets the complete file.
_NO_MATCH = "none"


def send(folder: str, name: str, *, max_age: int | None = None) -> Response:
    """The folder's file of this name, or 404. Never serves files outside the folder."""
    _drop_impossible_dates()
    return send_from_directory(folder, name, max_age=max_age)


def send_download(path: Path, *, name: str, media_type: str, etag: str) -> Response:
    """A file to store under `name`, or the range of it that the request asks for."""
    _drop_impossible_dates()
    return send_file(
        path, mimetype=media_type, as_attachment=True, download_name=name, etag=etag, max_age=0
    )


def _drop_impossible_dates() -> None:
    for header in ("HTTP_IF_MODIFIED_SINCE", "HTTP_IF_RANGE"):
        with suppress(KeyError):
            if _is_out_of_range(request.environ[header]):
                request.environ[header] = _NO_MATCH


def _is_out_of_range(text: str) -> bool:
    """Whether Werkzeug would raise on this date, since it is out of range."""
    try:
        parse_date(text)
    except OverflowError:
        return True
    return False
