"""Text is text: whatever it looks like, it comes back as it was sent."""

import pytest

from tests.api.conftest import CheckedClient
from tests.support.factories import PASSWORD, Shop

TEXTS = {
    "sql": "Robert'); DROP TABLE users;--",
    "lua": '"] redis.call("FLUSHALL") --',
    "resp": "*1 $8 FLUSHALL {sid}:uid",
    "html": "<script>alert(1)</script>",
    "template": "{{ 7 * 7 }} %s {0} ${x}",
    "null": "null",
    "number": "1e999",
    "emoji": "\N{GRINNING FACE}" * 50,
    "right to left": "שלום עולם",
    "combining": "e\N{COMBINING ACUTE ACCENT}" * 25,
    "four bytes": "\U0001f9d1\U0001f680" * 25,
    "cjk": "日本語の名前",
    "shortest": "abc",
    "longest": "x" * 50,
    "quotes": """a"b'c\\d`e""",
}


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_text_is_stored_and_shown_as_it_was_sent(
    admin: CheckedClient, anyone: CheckedClient, shop: Shop, text: str
) -> None:
    # New names are of letters; older accounts have any.
    shop.account(text)
    login = anyone.post("/api/auth/login", json={"username": text, "password": PASSWORD})
    assert login.json["username"] == text
    member = anyone.with_token(login.json["token"])
    session = admin.post(
        "/api/admin/sessions/combined",
        json={"name": text, "description": text, "upset_price": 1, "inventory": 1},
    ).json
    assert (session["name"], session["description"]) == (text, text)
    assert [product["name"] for product in admin.get("/api/admin/products").json] == [text]
    assert member.post("/api/bid", json={"session_id": session["session_id"], "price": 5})
    board = anyone.get(f"/api/leaderboard/{session['session_id']}").json
    assert [entry["username"] for entry in board["leaderboard"]] == [text]


@pytest.mark.parametrize("name", [text for text in TEXTS.values() if text.isascii()])
def test_a_new_name_has_any_signs_of_ascii(anyone: CheckedClient, name: str) -> None:
    new = {"username": name, "email": "eve@example.com", "password": PASSWORD}
    registered = anyone.post("/api/auth/register", json=new)
    assert (registered.status_code, registered.json["username"]) == (201, name)


@pytest.mark.parametrize("length", [6, 128])
@pytest.mark.parametrize("character", ["x", "\N{GRINNING FACE}", " "])
def test_password_of_any_characters_logs_in(
    anyone: CheckedClient, length: int, character: str
) -> None:
    password = character * length
    new = {"username": "eve", "email": "eve@example.com", "password": password}
    assert anyone.post("/api/auth/register", json=new).status_code == 201
    login = {"username": "eve", "password": password}
    assert anyone.post("/api/auth/login", json=login).status_code == 200
    shorter = {**login, "password": password[:-1]}
    assert anyone.post("/api/auth/login", json=shorter).json["code"] == "invalid_credentials"


@pytest.mark.parametrize(
    ("name", "description"),
    [
        ("x" * 200, "y" * 1000),
        ("\N{GRINNING FACE}" * 200, ""),
        ("\U0001f9d1\u200d\U0001f680" * 66, "\N{RIGHT-TO-LEFT OVERRIDE}שלום עולם"),
    ],
)
def test_product_text_may_have_its_full_length(
    admin: CheckedClient, name: str, description: str
) -> None:
    product = admin.post("/api/admin/products", json={"name": name, "description": description})
    assert (product.json["name"], product.json["description"]) == (name, description)


def test_unknown_fields_are_ignored(admin: CheckedClient) -> None:
    """Deeply nested ones as well: existing clients send what they like."""
    deep: object = 1
    for _ in range(50):
        deep = [deep]
    product = admin.post("/api/admin/products", json={"name": "Camera", "x": deep, "id": "1"})
    assert product.status_code == 201


@pytest.mark.parametrize(
    "name",
    [
        "\u200b\u200b\u200b",
        "bob\u200b",
        "bo\u200db",
        "\u202ebob",
        "\u2060bob",
        "\ufeffbob",
        "bob\xad",
        "bob\U000e0041",
        "\u3164\u3164\u3164",
        "bob\u2800",
    ],
    ids=ascii,
)
def test_a_new_name_has_no_characters_that_cannot_be_seen(anyone: CheckedClient, name: str) -> None:
    new = {"username": name, "email": "eve@example.com", "password": PASSWORD}
    refused = anyone.post("/api/auth/register", json=new)
    assert (refused.status_code, refused.json["code"]) == (422, "validation_failed")
    [sentence] = refused.json["errors"]["username"]
    assert "invisible character U+" in sentence


def test_a_member_of_an_older_name_goes_on_logging_in(anyone: CheckedClient, shop: Shop) -> None:
    shop.account("bob\u200b")
    login = anyone.post("/api/auth/login", json={"username": "bob\u200b", "password": PASSWORD})
    assert login.json["username"] == "bob\u200b"
