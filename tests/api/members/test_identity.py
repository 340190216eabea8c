"""One account however its name, address and password are written."""

import unicodedata

import pytest

from tests.api.conftest import CheckedClient
from tests.api.guards.test_limits import Limited, limited, log_in
from tests.support.factories import PASSWORD, Shop

__all__ = ["limited"]

ADA = {"username": "ada", "email": "ada@example.com", "password": PASSWORD}


def register(client: CheckedClient, **changed: str) -> tuple[int, str]:
    answer = client.post("/api/auth/register", json={**ADA, **changed})
    return answer.status_code, answer.json.get("code", answer.json.get("username"))


# Two who would be taken for one, the second in a spelling that a new account may have.
SPELLINGS = [
    ("José", "Jose\u0301"),
    ("Jose\u0301", "JOSÉ"),
    ("bob lee", "bob  lee"),
    ("bob lee", "bob\u00a0lee"),
    ("bob lee", "Bob\u2003\u3000Lee"),
    ("οδος", "ΟΔΟΣ"),
    ("οδος", "οδοσ"),
    ("straße", "Strasse"),
    ("admin", "\uff41dmin"),
    ("admin", "admi\u0307n"),
    ("admin", "\u0251dm\u0131n"),
    ("\u30a2\u30a4\u30a6", "\uff71\uff72\uff73"),
    ("q\u0323\u0307q\u0323\u0307", "q\u0307\u0323q\u0307\u0323"),
]


@pytest.mark.parametrize(("name", "other"), SPELLINGS, ids=ascii)
def test_a_name_is_taken_in_all_its_spellings(anyone: CheckedClient, name: str, other: str) -> None:
    assert register(anyone, username=name) == (201, name)
    assert register(anyone, username=other, email="eve@example.com") == (409, "username_taken")


@pytest.mark.parametrize(("name", "other"), SPELLINGS, ids=ascii)
@pytest.mark.parametrize("around", ["{}", "{} ", "\u3000{}\u00a0", "\u200b{}"], ids=ascii)
def test_a_member_logs_in_by_any_spelling_of_the_name(
    anyone: CheckedClient, shop: Shop, name: str, other: str, around: str
) -> None:
    shop.account(name)
    login = {"username": around.format(other), "password": PASSWORD}
    assert anyone.post("/api/auth/login", json=login).json["username"] == name


@pytest.mark.parametrize(
    "name",
    [
        *(f"admin{mark}" for mark in "\ufe0f\u034f\u17b4\U000e0101\u2065\ufff0\u180b\u115f"),
        "adm\u034fin",
        "admin\ue000",
        "admin\U000f0000",
        "admin\u0378",
        "admin\U0001fbff",
        "\u0301\u0302\u0303",
        "\u20dd\u20dd\u20dd",
        "\U0001d41admin",
        "\u0430dmin",
        "admin \u0301",
        "a\u0308\u0308\u0308\u0308\u0308\u0308dmin",
    ],
    ids=ascii,
)
def test_no_name_passes_for_another(anyone: CheckedClient, shop: Shop, name: str) -> None:
    shop.account("admin")
    assert register(anyone, username=name) == (422, "validation_failed")
    assert shop.rows("SELECT username FROM users") == [("admin",)]


SPELLED_ADDRESSES = [
    "ada@bücher.example",
    "ada@bu\u0308cher.example",
    "ada@xn--bcher-kva.example",
    "ADA@BÜCHER.example",
    "ada@bücher。example",
]


@pytest.mark.parametrize("first", SPELLED_ADDRESSES, ids=ascii)
def test_an_address_is_taken_in_all_its_spellings(anyone: CheckedClient, first: str) -> None:
    answer = anyone.post("/api/auth/register", json={**ADA, "email": first})
    assert answer.json["email"].lower() == "ada@xn--bcher-kva.example"
    for other in SPELLED_ADDRESSES:
        assert register(anyone, username="eve", email=other) == (409, "email_taken")


@pytest.mark.parametrize(
    "address",
    ["a\u200b@t.com", "a@t\u2028.com", "x@。t.com", f"{'x' * 65}@t.com", "a@t.com\u2060"],
    ids=ascii,
)
def test_an_address_that_gets_no_mail_is_refused(anyone: CheckedClient, address: str) -> None:
    assert register(anyone, email=address) == (422, "validation_failed")


@pytest.mark.parametrize(
    ("password", "other"),
    [
        ("pässwörd", unicodedata.normalize("NFD", "pässwörd")),
        (unicodedata.normalize("NFD", "Ünïcödé"), "Ünïcödé"),
        ("my\u00a0pass word", "my pass\u3000word"),
        ("각각각각각각", unicodedata.normalize("NFD", "각각각각각각")),
    ],
    ids=ascii,
)
def test_a_password_is_right_in_all_its_spellings(
    anyone: CheckedClient, password: str, other: str
) -> None:
    assert register(anyone, password=password) == (201, "ada")
    for typed in (password, other):
        login = anyone.post("/api/auth/login", json={"username": "ada", "password": typed})
        assert login.status_code == 200
    wrong = {"username": "ada", "password": f"{other} "}
    assert anyone.post("/api/auth/login", json=wrong).json["code"] == "invalid_credentials"


@pytest.mark.parametrize(
    ("password", "status"),
    [
        ("e\u0301" * 3, 201),
        ("e\u0301" * 64, 201),
        ("e\u0301" * 65, 422),
        ("é" * 5, 422),
        ("\ufb2c" * 128, 201),
        ("secret\u200b", 422),
        ("secret\ue000", 422),
    ],
    ids=ascii,
)
def test_length_of_a_password_is_that_of_what_was_typed(
    anyone: CheckedClient, password: str, status: int
) -> None:
    assert register(anyone, password=password)[0] == status
    login = anyone.post("/api/auth/login", json={"username": "ada", "password": password})
    assert (login.status_code == 200) is (status == 201)


def test_all_spellings_of_a_name_share_its_guesses(limited: Limited, shop: Shop) -> None:
    shop.account("José Lee")
    client = limited(tries_per_minute=3)
    spellings = ["José Lee", "Jose\u0301 lee", "JOSÉ\u00a0 LEE", "jos\u00e9\u200b lee "]
    statuses = [log_in(client, name, "wrong password").status_code for name in spellings]
    assert statuses == [401, 401, 401, 429]


@pytest.mark.parametrize(
    "name",
    [
        "\u200b",
        "\u2060\ufeff",
        "\ufe0f",
        "\u0301",
        "\u2800",
        "\u3164\u3164",
        "\U000e0041",
        "\ue000",
    ],
    ids=ascii,
)
@pytest.mark.parametrize("route", ["products", "sessions/combined"])
def test_a_product_has_a_name_that_shows(admin: CheckedClient, route: str, name: str) -> None:
    product = {"name": name, "upset_price": 1, "inventory": 1}
    answer = admin.post(f"/api/admin/{route}", json=product)
    assert (answer.status_code, answer.json["code"]) == (422, "validation_failed")
    assert admin.get("/api/admin/products").json == []
