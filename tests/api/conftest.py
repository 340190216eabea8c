"""Clients whose every answer is held against the OpenAPI document.

`anyone` has no token, `member` and `admin` have one. An answer with a status, a media
type, a field or a type that the document does not have fails the test that got it.
"""

import json
from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from core.members.accounts import Account
from tests.support.factories import Shop
from tests.support.http.document import Document
from web.guards import tokens

Log = Callable[[str], "CheckedClient"]
Connect = Callable[[Flask], "CheckedClient"]


class CheckedClient(FlaskClient):
    """A client that accepts documented answers only."""

    document: Document
    account: Account

    def open(self, *args: Any, **kwargs: Any) -> TestResponse:
        response = super().open(*args, **{**kwargs, "buffered": True})
        self.document.check(self.application, response)
        return response

    def post_raw(self, path: str, body: str | bytes, **kwargs: Any) -> TestResponse:
        """Send a body as it stands."""
        return self.post(path, data=body, content_type="application/json", **kwargs)

    def with_token(self, token: str) -> "CheckedClient":
        """Send this token from now on."""
        self.environ_base["HTTP_AUTHORIZATION"] = f"Bearer {token}"
        return self


@pytest.fixture(scope="session")
def document(app: Flask) -> Document:
    return Document(json.loads(app.test_client().get("/openapi.json").data))


@pytest.fixture(scope="session")
def connect(document: Document) -> Connect:
    """A checked client of an application."""

    def connect_to(app: Flask) -> CheckedClient:
        client = CheckedClient(app, app.response_class)
        client.document = document
        return client

    return connect_to


@pytest.fixture
def anyone(app: Flask, clean: None, connect: Connect) -> CheckedClient:
    return connect(app)


@pytest.fixture
def log_in(app: Flask, connect: Connect, shop: Shop) -> Log:
    """A client with the token of a new member of that name, as if it had logged in."""

    def log_in_as(username: str) -> CheckedClient:
        client = connect(app)
        client.account = shop.account(username)
        with app.app_context():
            return client.with_token(tokens.issue(client.account)["token"])

    return log_in_as


@pytest.fixture
def admin(log_in: Log) -> CheckedClient:
    return log_in("ada")


@pytest.fixture
def member(admin: CheckedClient, log_in: Log) -> CheckedClient:
    return log_in("bob")
