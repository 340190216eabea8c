"""Every route says who may call it, and means it. Read from the url map: a new route is
covered by itself."""

from collections.abc import Iterator
from uuid import uuid4

import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.routing import Rule

from core.members.api_keys import Scope
from tests.support.factories import PASSWORD, Shop
from web.guards.operation import Operation
from web.guards.tokens import Auth

# Routes that anybody may call and that are no operation of the API, with the reason.
PUBLIC_EXTRAS = {
    "docs.openapi": "the document describes the operations, not itself",
    "docs.asyncapi": "the document describes the WebSocket, not itself",
    "docs.swagger_ui": "a page for people",
    "docs.swagger_ui_file": "a file of that page",
    "docs.swagger_ui_start": "a file of that page",
    "page.board": "the live board",
    "page.board_file": "a file of that page",
}
# Admin routes that no API key may call, with the reason.
NOT_FOR_KEYS = {
    "admin.stats": "figures for people",
    "admin.disable_member": "who may log in is for admins to decide",
    "admin.enable_member": "who may log in is for admins to decide",
    "admin.settings": "the service's own state, for operators",
    "admin.simulate": "figures for people",
    "admin.channels": "the service's own state, for operators",
    "admin.email_deliveries": "the service's own state, for operators",
    "admin.admin_actions": "a key must not read what admins do",
    "webhooks.webhook_endpoints": "who hears of orders is for admins to decide",
    "webhooks.add_webhook_endpoint": "it hands out a secret",
    "webhooks.change_webhook_endpoint": "who hears of orders is for admins to decide",
    "webhooks.delete_webhook_endpoint": "who hears of orders is for admins to decide",
    "webhooks.rotate_webhook_secret": "it hands out a secret",
    "webhooks.send_test_webhook": "who hears of orders is for admins to decide",
    "webhooks.webhook_deliveries": "the service's own state, for operators",
    "webhooks.replay_webhook_delivery": "the service's own state, for operators",
}


def routes(app: Flask) -> Iterator[tuple[Rule, Operation | None]]:
    for rule in app.url_map.iter_rules():
        yield rule, getattr(app.view_functions[rule.endpoint], "operation", None)


def requests(app: Flask, *auth: Auth) -> Iterator[tuple[str, str]]:
    """Method and address of every operation with such an auth."""
    adapter = app.url_map.bind("localhost")
    for rule, operation in routes(app):
        if operation is not None and operation.auth in auth:
            values = {name: str(uuid4()) for name in rule.arguments}
            for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}:
                yield method, adapter.build(rule.endpoint, values, method=method)


def token(client: FlaskClient, username: str) -> dict[str, str]:
    answer = client.post("/api/auth/login", json={"username": username, "password": PASSWORD})
    return {"Authorization": f"Bearer {answer.get_json()['token']}"}


def test_every_route_declares_its_auth_or_is_a_known_extra(app: Flask) -> None:
    undeclared = {rule.endpoint for rule, operation in routes(app) if operation is None}
    assert undeclared == set(PUBLIC_EXTRAS)


def test_operation_cannot_be_declared_without_an_auth() -> None:
    with pytest.raises(TypeError, match="auth"):
        Operation()  # type: ignore[call-arg]


def test_no_token_opens_public_operations_only(app: Flask, client: FlaskClient) -> None:
    closed = list(requests(app, Auth.MEMBER, Auth.BIDDER, Auth.ADMIN))
    assert len(closed) >= 12
    for method, path in closed:
        refused = client.open(path, method=method)
        assert (refused.status_code, refused.get_json()["code"]) == (401, "token_missing"), path


def test_members_token_opens_no_admins_operation(
    app: Flask, client: FlaskClient, shop: Shop
) -> None:
    shop.account("ada")
    shop.account("bob")
    closed = list(requests(app, Auth.ADMIN))
    assert len(closed) >= 8
    for method, path in closed:
        refused = client.open(path, method=method, headers=token(client, "bob"))
        assert (refused.status_code, refused.get_json()["code"]) == (403, "admin_required"), path


def test_revoked_token_opens_nothing(app: Flask, client: FlaskClient, shop: Shop) -> None:
    shop.account("ada")
    session = shop.session()
    headers = token(client, "ada")
    client.post("/api/auth/logout", headers=headers)
    right_bid = {"session_id": str(session.session_id), "price": 150}
    for method, path in requests(app, Auth.MEMBER, Auth.BIDDER, Auth.ADMIN):
        refused = client.open(path, method=method, headers=headers, json=right_bid)
        assert refused.get_json()["code"] == "token_revoked", path


def test_everything_under_admin_is_for_admins(app: Flask) -> None:
    for rule, operation in routes(app):
        if rule.rule.startswith("/api/admin"):
            assert operation is not None
            assert operation.auth is Auth.ADMIN, rule.rule


def test_every_admin_route_has_a_scope_or_is_known_not_to_be_for_keys(app: Flask) -> None:
    scopes = {
        rule.endpoint: operation.scope
        for rule, operation in routes(app)
        if operation is not None and operation.auth is Auth.ADMIN
    }
    without = {endpoint for endpoint, scope in scopes.items() if scope is None}
    assert without == set(NOT_FOR_KEYS)
    assert {scope for scope in scopes.values() if scope} <= set(Scope)


def test_only_admin_routes_have_a_scope(app: Flask) -> None:
    """No bids by keys, and nothing that concerns a member's own account."""
    for rule, operation in routes(app):
        assert operation is None or operation.scope is None or operation.auth is Auth.ADMIN, rule
