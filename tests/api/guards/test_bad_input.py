"""Wrong requests: each gets its code, never a 5xx, and nothing changes.

Values are written as the JSON that is sent, so that what no Python value stands for
(1e400, NaN, a number of 10,000 digits) can be sent as well.
"""

import json
from collections.abc import Callable
from itertools import product
from typing import Any
from uuid import uuid4

import pytest
from flask import Flask
from sqlalchemy import text
from werkzeug.test import TestResponse

from core.bootstrap import Services
from core.postgres.models import Base
from tests.api.conftest import CheckedClient, Connect
from tests.support.factories import PASSWORD, Shop

Refuse = Callable[..., TestResponse]

INVALID = (422, "validation_failed")
MALFORMED = (400, "malformed_json")

SOMEBODY = {
    "username": '"somebody"',
    "email": '"somebody@example.com"',
    "password": '"a good password"',
}
TERMS = {"upset_price": "100", "inventory": "3"}
ROUTES = {
    "register": ("/api/auth/register", SOMEBODY),
    "login": ("/api/auth/login", {"username": '"somebody"', "password": '"a good password"'}),
    "product": ("/api/admin/products", {"name": '"Camera"'}),
    "session": ("/api/admin/sessions", {"product_id": '"<product>"', **TERMS}),
    "combined": ("/api/admin/sessions/combined", {"name": '"Camera"', **TERMS}),
    "bid": ("/api/bid", {"session_id": '"<session>"', "price": "150"}),
}
JSON = "application/json"
MAX_BYTES = {**dict.fromkeys(ROUTES, 65_536), "register": 4096, "login": 4096, "bid": 1024}
MISSING = None
# What an admin asks for in vain is recorded, too; that is no change of the shop.
KEPT = [table.name for table in Base.metadata.sorted_tables if table.name != "admin_actions"]
ALL_ROWS = " UNION ALL ".join(f"SELECT '{name}', t::text FROM {name} t" for name in KEPT)  # noqa: S608 - our own names
ALL_ROWS += " ORDER BY 1, 2"
ARABIC_ZERO = "\N{ARABIC-INDIC DIGIT ZERO}"  # a digit to Python alone


class World:
    """One session with one bid, shared by all these tests: none of them may change it."""

    def __init__(self, services: Services, client: CheckedClient) -> None:
        self.shop = Shop(services)
        self.client = client
        admin = services.accounts.create_admin(
            f"admin-{uuid4().hex}", f"{uuid4().hex}@example.com", PASSWORD
        )
        login = {"username": admin.username, "password": PASSWORD}
        client.with_token(client.post("/api/auth/login", json=login).json["token"])
        session = self.shop.session()
        self.ids = {"<session>": str(session.session_id), "<product>": str(session.product_id)}
        client.post("/api/bid", json={"session_id": self.ids["<session>"], "price": 140})

    def body(self, route: str, **changed: str | None) -> str:
        """A right body of a route as JSON, with some fields changed or left out."""
        fields = {**ROUTES[route][1], **changed}
        pairs = (f'"{name}": {raw}' for name, raw in fields.items() if raw is not MISSING)
        return self.named("{" + ", ".join(pairs) + "}")

    def named(self, template: str) -> str:
        for placeholder, value in self.ids.items():
            template = template.replace(placeholder, value)
        return template

    def state(self) -> dict[str, Any]:
        """Every row of every table and every key of Redis."""
        rows = self.shop.rows(ALL_ROWS)
        return {"redis": self.shop.redis_state(), "rows": rows}


@pytest.fixture(scope="module")
def world(app: Flask, services: Services, connect: Connect) -> World:
    return create_world(app, services, connect)


def create_world(app: Flask, services: Services, connect: Connect) -> World:
    tables = ", ".join(table.name for table in Base.metadata.sorted_tables)
    with services.engine.begin() as connection:
        connection.execute(text(f"TRUNCATE {tables}"))
    services.redis.flushdb()
    return World(services, connect(app))


@pytest.fixture
def refuse(world: World) -> Refuse:
    """Send a request, and hold that it is refused so and changed nothing."""

    def refuse_request(
        expected: tuple[int, str], method: str, path: str, **request: Any
    ) -> TestResponse:
        before = world.state()
        answer = world.client.open(path, method=method, **request)
        assert (answer.status_code, answer.json["code"]) == expected, answer.text
        assert world.state() == before
        return answer

    return refuse_request


def test_bodies_are_right_before_the_cases_spoil_them(world: World) -> None:
    """Else every refusal below could have another reason. Who logs in has registered before."""
    statuses = {
        route: world.client.post_raw(ROUTES[route][0], world.body(route)).status_code
        for route in ROUTES
    }
    assert set(statuses.values()) <= {200, 201}, statuses


NO_NUMBER = ['"150"', "true", "false", "null", "[150]", "{}", '""', MISSING]
HUGE = ["1e26", "1e27", "1e28", "1e29", "1e30", "1e31", "1e308", "1e400", "1e999999999", "9" * 900]
TINY = ["1e-30", "1e-31", "1e-400", "1e-999999999"]
NO_JSON = ["NaN", "Infinity", "-Infinity", "1" * 10_000, "1e9999999999999999999999", "01", "+1", ""]

PRICES = [
    *NO_NUMBER,
    *HUGE,
    *TINY,
    "-1",
    "0",
    "-0.0",
    "0e999999999",
    "0.001",
    "150.001",
    "250.0000000000000001",
    "150." + "0" * 50 + "1",
    "9999999999.999",
    "10000000000",
    "1e10",
]
INVENTORIES = [*NO_NUMBER, *HUGE, *TINY, "1.5", "0", "-1", "2147483648", "1.0000000000000000000001"]
COEFFICIENTS = ['"0.5"', "true", "null", "[]", "-1", "-1e-9", "1e308", "1e400", "9" * 4000]
DURATIONS = [*NO_NUMBER[:-1], *HUGE, *TINY, "0", "-1", "43200.1", "1e-9"]
TIMES = [
    '"tomorrow"',
    '""',
    "5",
    "true",
    "{}",
    '"2030-13-01T00:00:00Z"',
    '"2030-02-30T00:00:00Z"',
    '"2030-01-31T18:00:00+99:00"',
    '"9999-12-31T23:59:59Z"',
    '"9999-12-31T23:59:59-14:00"',
    '"0001-01-01T00:00:00Z"',
    '"0001-01-01T00:00:00+14:00"',
    '"10000-01-01T00:00:00Z"',
    '"2030-01-31T18:00:00Z\\u0000"',
]
NO_TEXT = ["5", "true", "null", "[]", "{}", MISSING]
UNSTORABLE = ['"cam\\u0000era"', '"cam\\ud800era"', '"cam\\u0007era"', '"cam\\u001bera"']
USERNAMES = [*NO_TEXT, *UNSTORABLE, '""', '"ab"', '"   "', f'"{"x" * 51}"', f'"{"😀" * 51}"']
EMAILS = [
    *NO_TEXT,
    *UNSTORABLE,
    '""',
    '"ada"',
    '"@example.com"',
    '"ada@"',
    '"a b@example.com"',
    '"ada@example"',
    '"ada@example.com\\n"',
    '"ada@example.com, eve@example.com"',
    f'"{"a" * 250}@example.com"',
]
PASSWORDS = [*NO_TEXT, *UNSTORABLE, '"12345"', f'"{"x" * 129}"']
NAMES = [*NO_TEXT, *UNSTORABLE, '""', '" "', '"line\\nbreak"', f'"{"x" * 201}"']
DESCRIPTIONS = ["5", "[]", '"a\\u0000b"', '"\\udfff"', f'"{"x" * 1001}"']
IDS = [
    *NO_TEXT,
    '""',
    '"1"',
    '"{<session>}"',
    '"urn:uuid:<session>"',
    '"<session> "',
    '"<session>\\n"',
    f'"{"0" * 32}"',
    f'"{"g" * 8}-0000-0000-0000-000000000000"',
    f'"{ARABIC_ZERO * 8}-0000-0000-0000-000000000000"',
]

FIELDS = [
    ("bid", "price", PRICES),
    ("bid", "session_id", IDS),
    ("session", "product_id", IDS),
    ("combined", "upset_price", PRICES),
    ("combined", "inventory", INVENTORIES),
    ("combined", "alpha", COEFFICIENTS),
    ("combined", "beta", COEFFICIENTS[:1] + COEFFICIENTS[4:7]),
    ("combined", "gamma", COEFFICIENTS[:1] + COEFFICIENTS[4:7]),
    ("combined", "duration_minutes", DURATIONS),
    ("combined", "start_time", TIMES),
    ("combined", "name", NAMES),
    ("combined", "description", DESCRIPTIONS),
    ("product", "name", NAMES),
    ("product", "description", DESCRIPTIONS),
    ("register", "username", USERNAMES),
    ("register", "email", EMAILS),
    ("register", "password", PASSWORDS),
    ("login", "username", NO_TEXT + UNSTORABLE),
    ("login", "password", NO_TEXT + UNSTORABLE),
]
CASES = [(route, field, raw) for route, field, raws in FIELDS for raw in raws]


def unless_too_large(refusal: tuple[int, str], route: str, body: str | bytes) -> tuple[int, str]:
    """What refuses a body: its size comes first, since a body that is too large is not read."""
    return (413, "body_too_large") if len(body) > MAX_BYTES[route] else refusal


def short(value: object) -> str:
    """A test's id that a terminal can show."""
    return "missing" if value is MISSING else ascii(value)[:40]


@pytest.mark.parametrize(("route", "field", "raw"), CASES, ids=short)
def test_wrong_field_is_named_and_changes_nothing(
    world: World, refuse: Refuse, route: str, field: str, raw: str | None
) -> None:
    body = world.body(route, **{field: raw})
    answer = refuse(INVALID, "POST", ROUTES[route][0], data=body, content_type=JSON)
    assert list(answer.json["errors"]) == [field]
    messages = answer.json["errors"][field]
    assert all(isinstance(message, str) for message in messages)
    assert answer.json["detail"] == f"{field}: {messages[0]}"


@pytest.mark.parametrize(
    ("route", "field", "raw"),
    [
        *product(["bid"], ["price"], NO_JSON),
        *product(["combined"], ["inventory", "alpha"], NO_JSON[:4]),
    ],
    ids=short,
)
def test_numbers_that_are_not_json_are_malformed(
    world: World, refuse: Refuse, route: str, field: str, raw: str | None
) -> None:
    body = world.body(route, **{field: raw})
    refusal = unless_too_large(MALFORMED, route, body)
    refuse(refusal, "POST", ROUTES[route][0], data=body, content_type=JSON)


def test_every_wrong_field_is_named(world: World, refuse: Refuse) -> None:
    body = world.body("combined", name="5", upset_price="0", inventory=MISSING, gamma="-1")
    answer = refuse(
        INVALID, "POST", "/api/admin/sessions/combined", data=body, content_type="application/json"
    )
    assert set(answer.json["errors"]) == {"name", "upset_price", "inventory", "gamma"}
    first, messages = next(iter(answer.json["errors"].items()))
    assert answer.json["detail"] == f"{first}: {messages[0]}"


def test_a_body_that_is_no_object_is_refused_with_a_sentence(refuse: Refuse) -> None:
    answer = refuse(INVALID, "POST", "/api/auth/login", json=[])
    assert answer.json["detail"] == "Must be a JSON object."


DEEP = 30_000
NO_DOCUMENTS = [
    b"",
    b" ",
    b"{",
    b"{]",
    b'{"price": 150,}',
    b"{'price': 150}",
    b"price=150",
    b'"\xff"',
    b'{"price": "\xc3\x28"}',
    b'{"x": 1, "x": 1}',
    '{"price": 150}'.encode("utf-16"),
    b"[" * DEEP + b"]" * DEEP,
    b'{"a":' * 10_000 + b"1" + b"}" * 10_000,
    b"{} {}",
]
NO_OBJECTS = [b"[]", b"[{}]", b'"text"', b"null", b"true", b"5", b"1.5"]


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize("body", NO_DOCUMENTS, ids=short)
def test_body_that_is_not_json_is_malformed(refuse: Refuse, route: str, body: bytes) -> None:
    refusal = unless_too_large(MALFORMED, route, body)
    refuse(refusal, "POST", ROUTES[route][0], data=body, content_type="application/json")


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize("body", NO_OBJECTS, ids=short)
def test_body_that_is_not_an_object_is_refused(refuse: Refuse, route: str, body: bytes) -> None:
    refuse(INVALID, "POST", ROUTES[route][0], data=body, content_type="application/json")


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize(
    "media_type",
    [None, "", "text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "json"],
)
def test_body_that_is_not_announced_as_json_is_refused(
    world: World, refuse: Refuse, route: str, media_type: str | None
) -> None:
    refuse(
        (415, "unsupported_media_type"),
        "POST",
        ROUTES[route][0],
        data=world.body(route).encode(),
        content_type=media_type,
    )


QUERIES = [
    "page=0",
    "page=-1",
    "page=abc",
    "page=",
    "page=1e3",
    "page=1.5",
    "page=0x10",
    "page=1_0",
    f"page={ARABIC_ZERO}1",
    "page=%00",
    "page=1000000001",
    f"page={'9' * 5000}",
    "page_size=0",
    "page_size=-1",
    "page_size=101",
    "page_size=10000",
    "page_size=abc",
    "page=NaN&page_size=Infinity",
]
PAGED = [
    "/api/sessions",
    "/api/leaderboard/<session>",
    "/api/results/<session>",
    "/api/bids/me",
]


@pytest.mark.parametrize("path", PAGED)
@pytest.mark.parametrize("query", QUERIES, ids=short)
def test_wrong_page_is_refused(world: World, refuse: Refuse, path: str, query: str) -> None:
    refuse(INVALID, "GET", f"{world.named(path)}?{query}")


@pytest.mark.parametrize("status", ["", "open", "Active", "active,ended", "%00", "1"])
def test_unknown_status_is_refused(refuse: Refuse, status: str) -> None:
    refuse(INVALID, "GET", f"/api/sessions?status={status}")


MALFORMED_IDS = [
    *("1", "{{{id}}}", "urn:uuid:{id}", "{id}x", "{id}%20", "{id}%0A", "%00", "{nodash}"),
    *("%F0%9F%98%80", "%FF", "x" * 3000, "' OR 1=1 --"),
]
ID_PATHS = [
    *[("GET", f"/api/{part}") for part in ("sessions/{}", "leaderboard/{}", "leaderboard/{}/me")],
    ("GET", "/api/results/{}"),
    *[("PUT", f"/api/admin/sessions/{{}}/{act}") for act in ("activate", "deactivate", "close")],
]


@pytest.mark.parametrize(("method", "path"), ID_PATHS)
@pytest.mark.parametrize("malformed", MALFORMED_IDS, ids=short)
def test_malformed_id_in_a_path_names_no_session(
    world: World, refuse: Refuse, method: str, path: str, malformed: str
) -> None:
    session = world.ids["<session>"]
    spelled = malformed.replace("{id}", session).replace("{nodash}", session.replace("-", ""))
    refuse((404, "session_not_found"), method, path.format(spelled))


@pytest.mark.parametrize(("method", "path"), ID_PATHS)
def test_unknown_id_in_a_path_names_no_session(refuse: Refuse, method: str, path: str) -> None:
    refuse((404, "session_not_found"), method, path.format(uuid4()))


@pytest.mark.parametrize("session_id", IDS[6:], ids=short)
def test_malformed_id_in_a_query_is_refused(world: World, refuse: Refuse, session_id: str) -> None:
    query = {"session_id": json.loads(world.named(session_id))}
    refuse(INVALID, "GET", "/api/bids/me", query_string=query)


def test_repeated_query_parameter_counts_once(world: World) -> None:
    """The first one, as in most servers: never a list, never an error of ours."""
    board = world.named("/api/leaderboard/<session>?page=2&page=1")
    assert world.client.get(board).json["page"] == 2
