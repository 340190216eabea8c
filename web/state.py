"""Gives views the services of their application."""

from typing import cast

from flask import Flask, current_app

from core.bootstrap import Services

STATE_KEY = "flashbid"


def services() -> Services:
    """The services of the application that handles this request."""
    return services_of(current_app)


def services_of(app: Flask) -> Services:
    """The services of an application."""
    return cast(Services, app.extensions[STATE_KEY])
