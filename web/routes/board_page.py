"""The live board page, served from static files without a build step."""

from importlib import resources

from flask import Blueprint, Response

from web.http import static_files
from web.state import services

blueprint = Blueprint("page", __name__)

_FILES = str(resources.files("web") / "static" / "board")
# Pictures of products may be on other hosts; nothing else is.
_CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src {images}; "
    "connect-src 'self'; form-action 'none'; base-uri 'none'; frame-ancestors 'none'"
)


@blueprint.get("/")
def board() -> Response:
    """The board page."""
    response = static_files.send(_FILES, "index.html")
    images = " ".join(("'self'", *services().settings.image_hosts.origins))
    response.headers["Content-Security-Policy"] = _CONTENT_SECURITY_POLICY.format(images=images)
    response.headers["Referrer-Policy"] = "no-referrer"
    return response


@blueprint.get("/board/<path:name>")
def board_file(name: str) -> Response:
    """One of the page's files. Browsers revalidate it by ETag each time, so that files of two
    releases are not mixed for long.
    """
    return static_files.send(_FILES, name)
