"""What admins and operators do is recorded: who, when, what, and how it went."""

import re
from typing import Any
from uuid import uuid4

import pytest
from flask import Flask
from werkzeug.routing import Rule

from core.operations.admin_log import Actor
from tests.api.conftest import CheckedClient
from tests.support.factories import PASSWORD, Shop
from web.guards.tokens import Auth
from web.routes.documents.examples import body_example

TERMS: dict[str, Any] = {"name": "Camera", "upset_price": 100.5, "inventory": 2}


def actions(admin: CheckedClient) -> list[dict[str, Any]]:
    return admin.get("/api/admin/actions").json


def test_what_an_admin_does_is_recorded(admin: CheckedClient) -> None:
    session = admin.post("/api/admin/sessions/combined", json=TERMS).json
    admin.put(f"/api/admin/sessions/{session['session_id']}/close")
    closed, created = actions(admin)
    assert (created["actor"], created["actor_id"]) == ("ada", str(admin.account.user_id))
    assert (created["action"], created["outcome"]) == ("add_product_and_session", "done")
    assert created["details"]["name"] == "Camera"
    assert created["details"]["terms"]["upset_price"] == "100.50"
    assert created["details"]["session_id"] == session["session_id"]
    assert (closed["action"], closed["details"]["session_id"]) == ("close", session["session_id"])
    assert created["created_at"] <= closed["created_at"]


def test_what_was_refused_is_recorded_as_refused(admin: CheckedClient) -> None:
    nothing = str(uuid4())
    admin.put(f"/api/admin/sessions/{nothing}/activate")
    [refused] = actions(admin)
    assert (refused["outcome"], refused["details"]) == ("refused", {"session_id": nothing})


def test_what_failed_is_recorded_as_failed(admin: CheckedClient, shop: Shop) -> None:
    with (
        pytest.raises(ZeroDivisionError),
        shop.services.admin_actions.recording(Actor("x"), "break", {}),
    ):
        raise ZeroDivisionError
    assert [action["outcome"] for action in actions(admin)] == ["failed"]


def test_a_process_that_dies_in_between_leaves_what_was_asked(
    admin: CheckedClient, shop: Shop
) -> None:
    """The record is committed before the deed begins."""
    with shop.services.admin_actions.recording(Actor("x"), "deed", {"a": 1}):
        [asked] = actions(admin)
    assert (asked["outcome"], asked["details"]) == ("asked", {"a": 1})
    assert [action["outcome"] for action in actions(admin)] == ["done"]


def test_looking_is_not_recorded_and_neither_are_members(
    admin: CheckedClient, member: CheckedClient
) -> None:
    for path in ("/api/admin/products", "/api/admin/stats", "/api/admin/channels"):
        admin.get(path)
    member.post("/api/admin/products", json={"name": "x"})
    admin.post("/api/admin/products", json={"name": ""})
    assert actions(admin) == []


def changing_routes(app: Flask) -> list[Rule]:
    return [
        rule
        for rule in app.url_map.iter_rules()
        if rule.rule.startswith("/api/admin") and "GET" not in (rule.methods or ())
    ]


def test_every_route_that_changes_something_for_an_admin_is_recorded(
    app: Flask, admin: CheckedClient, shop: Shop
) -> None:
    rules = changing_routes(app)
    assert len(rules) >= 15
    for rule in rules:
        operation = app.view_functions[rule.endpoint].operation  # type: ignore[attr-defined]
        assert operation.auth is Auth.ADMIN
        [method] = rule.methods - {"OPTIONS"}  # type: ignore[operator]
        body = body_example(operation.body) if operation.body else None
        before = len(actions(admin))
        path = rule.rule.replace("<session_id>", str(shop.session().session_id))
        # Other ids are unknown, and what is refused is recorded, too.
        path = re.sub("<.*?>", str(uuid4()), path)
        assert admin.open(path, method=method, json=body).status_code not in {405, 415, 422}, path
        assert len(actions(admin)) == before + 1, path


def test_list_comes_in_pages(admin: CheckedClient) -> None:
    for number in range(3):
        admin.post("/api/admin/products", json={"name": f"Camera {number}"})
    page = admin.get("/api/admin/actions?page=2&page_size=2")
    assert page.headers["X-Total-Count"] == "3"
    assert [action["details"]["name"] for action in page.json] == ["Camera 0"]


# The command line


def run(app: Flask, *arguments: str, typed: str | None = None) -> tuple[int, str]:
    with app.app_context():
        result = app.test_cli_runner().invoke(args=list(arguments), input=typed)
    return result.exit_code, result.output


@pytest.mark.parametrize("command", ["promote", "demote", "disable-member", "enable-member"])
def test_command_is_recorded_with_the_systems_name_for_its_caller(
    app: Flask, admin: CheckedClient, shop: Shop, command: str
) -> None:
    shop.account("bob")
    code, said = run(app, command, "Bob")
    assert (code, said[:5]) == (0, "✓ bob")
    [action] = actions(admin)
    assert action["actor"].startswith("command line: ")
    assert (action["actor_id"], action["action"]) == (None, command)
    assert (action["details"], action["outcome"]) == ({"username": "Bob"}, "done")


@pytest.mark.parametrize("command", ["promote", "demote", "disable-member", "enable-member"])
def test_command_for_nobody_fails_with_a_sentence(
    app: Flask, admin: CheckedClient, command: str
) -> None:
    code, said = run(app, command, "nobody")
    assert (code, "No account is named" in said) == (1, True)
    assert [action["outcome"] for action in actions(admin)] == ["refused"]


def test_commands_do_what_they_say(app: Flask, shop: Shop) -> None:
    shop.account("ada")
    shop.account("bob")
    state = "SELECT is_admin, disabled_at IS NOT NULL FROM users WHERE username = 'bob'"
    for command, expected in (
        ("promote", (True, False)),
        ("disable-member", (True, True)),
        ("demote", (False, True)),
        ("enable-member", (False, False)),
    ):
        assert run(app, command, "bob")[0] == 0
        assert shop.rows(state) == [expected]


@pytest.mark.parametrize("command", ["promote", "demote", "disable-member", "enable-member"])
def test_commands_take_a_name_in_any_spelling_and_an_id(
    app: Flask, shop: Shop, command: str
) -> None:
    account = shop.account("José Lee")
    for name in ("Jose\u0301  LEE ", "josé\u00a0lee", str(account.user_id)):
        assert run(app, command, name)[0] == 0


@pytest.mark.parametrize("command", ["promote", "demote", "disable-member", "enable-member"])
def test_a_name_in_bytes_that_are_no_text_is_refused_with_a_sentence(
    app: Flask, shop: Shop, command: str
) -> None:
    code, said = run(app, command, "ad\udce9")
    assert (code, said) == (1, "✗ username: Must not contain control characters.\n")


def test_a_new_name_from_the_command_line_is_recorded_and_logs_in(
    app: Flask, admin: CheckedClient, anyone: CheckedClient, shop: Shop
) -> None:
    shop.account("bob\u200b")
    assert run(app, "rename-member", "bob\u200b", "Bob Lee")[0] == 0
    [action] = actions(admin)
    assert (action["action"], action["outcome"]) == ("rename-member", "done")
    assert action["details"] == {"username": "bob\u200b", "new_name": "Bob Lee"}
    login = anyone.post("/api/auth/login", json={"username": "bob lee", "password": PASSWORD})
    assert login.json["username"] == "Bob Lee"


@pytest.mark.parametrize(
    ("new_name", "says"), [("ADA", "is taken"), ("bob\ufe0f", "U+FE0F"), ("x", "Length")]
)
def test_a_new_name_obeys_the_rules_of_a_registration(
    app: Flask, shop: Shop, new_name: str, says: str
) -> None:
    shop.account("ada")
    shop.account("bob")
    code, said = run(app, "rename-member", "bob", new_name)
    assert (code, says in said) == (1, True), said
    assert shop.rows("SELECT count(*) FROM users WHERE username = 'bob'") == [(1,)]


@pytest.mark.parametrize("name", ["ADA", "\uff41da", "ada\u034f", "\u0430da", "Ada "])
def test_no_admin_is_created_beside_an_account_that_looks_alike(
    app: Flask, shop: Shop, name: str
) -> None:
    shop.account("ada")
    typed = "a good password\na good password\n"
    assert run(app, "create-admin", name, "eve@example.com", typed=typed)[0] == 1
    assert shop.rows("SELECT count(*) FROM users") == [(1,)]


def test_created_admin_is_recorded_without_the_password(
    app: Flask, admin: CheckedClient, shop: Shop
) -> None:
    password = "not to be written down"
    code, _ = run(app, "create-admin", "eve", "eve@example.com", typed=f"{password}\n{password}\n")
    assert code == 0
    [action] = actions(admin)
    assert (action["action"], action["details"]) == ("create-admin", {"username": "eve"})
