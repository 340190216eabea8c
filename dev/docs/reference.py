"""The pages of the reference that are made from the code, and so cannot differ from it."""

from core.config import load_settings
from dev.docs import code_pages, document_pages
from web.app import create_app
from web.routes.documents.asyncapi import asyncapi_document
from web.routes.documents.openapi import openapi_document

# Building the application connects to nothing.
_SETTINGS = {"JWT_SECRET": "for the documentation, which signs no token"}


def pages() -> dict[str, str]:
    """Markdown by the page's path in the site."""
    app = create_app(load_settings(_SETTINGS))
    document = openapi_document(app)
    return {
        "reference/requests.md": document_pages.requests_page(document),
        "reference/errors.md": document_pages.errors_page(document),
        "reference/frames.md": document_pages.frames_page(asyncapi_document()),
        "reference/commands.md": code_pages.commands_page(app),
        "reference/metrics.md": code_pages.metrics_page(),
    }
