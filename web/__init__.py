"""The HTTP API: check the request, call core, send the response. See create_app."""

from web.app import create_app

__all__ = ["create_app"]
