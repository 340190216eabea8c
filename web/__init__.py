"""The HTTP API: verify, call core, answer. See create_app."""

from web.app import create_app

__all__ = ["create_app"]
