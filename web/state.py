"""Gives views the services of their application."""

from typing import cast

from flask import current_app

from core.bootstrap import Services

STATE_KEY = "flashbid"


def services() -> Services:
    """The services of the application that handles this request."""
    return cast(Services, current_app.extensions[STATE_KEY])
