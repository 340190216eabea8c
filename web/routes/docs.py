"""The OpenAPI and AsyncAPI documents, and Swagger UI from local files."""

from importlib import resources

from flask import Blueprint, Response, current_app, jsonify, render_template

from web.http import static_files
from web.routes.documents.asyncapi import asyncapi_document
from web.routes.documents.openapi import openapi_document

blueprint = Blueprint("docs", __name__, template_folder="templates")

# Swagger UI's files come with a package; nothing is loaded from other sites.
_SWAGGER_UI = str(resources.files("flask_swagger_ui") / "dist")
_OWN_FILES = str(resources.files("web") / "static" / "docs")
_CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data:; connect-src 'self'; base-uri 'none'; frame-ancestors 'none'"
)


@blueprint.get("/openapi.json")
def openapi() -> Response:
    """The OpenAPI 3.1 document."""
    return jsonify(openapi_document(current_app))


@blueprint.get("/asyncapi.json")
def asyncapi() -> Response:
    """The AsyncAPI 3.0 document of the WebSocket."""
    return jsonify(asyncapi_document())


@blueprint.get("/docs")
def swagger_ui() -> Response:
    """Swagger UI."""
    response = Response(render_template("docs.html"))
    response.headers["Content-Security-Policy"] = _CONTENT_SECURITY_POLICY
    return response


@blueprint.get("/docs/assets/<path:name>")
def swagger_ui_file(name: str) -> Response:
    """One of Swagger UI's files."""
    return static_files.send(_SWAGGER_UI, name, max_age=86_400)


@blueprint.get("/docs/start.js")
def swagger_ui_start() -> Response:
    """The script that starts Swagger UI; a file, since inline scripts are forbidden."""
    return static_files.send(_OWN_FILES, "start.js")
