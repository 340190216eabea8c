"""No address is answered by a redirect: it would lead to whatever Host the client sent."""

import json
import re
from collections.abc import Iterator

import pytest
from flask import Flask

from tests.support.factories import Shop
from tests.support.http.asgi import Answer, Door, opened

EVIL = {"Host": "evil.example", "X-Forwarded-Host": "evil.example", "X-Forwarded-Proto": "http"}
ID = "0f8fad5b-d9cb-469f-a165-70867728950e"


@pytest.fixture(scope="module")
def door(app: Flask) -> Iterator[Door]:
    with opened(app) as door:
        yield door


def routes(app: Flask) -> list[tuple[str, str]]:
    """Method and address of every route."""
    return [
        (method, re.sub(r"<[^>]+>", ID, rule.rule))
        for rule in app.url_map.iter_rules()
        for method in sorted(rule.methods or ())
    ]


def odd_addresses(path: str) -> set[str]:
    """Other spellings of an address, some of which a framework would put right by a redirect."""
    doubled = {path[:at] + "/" + path[at:] for at, letter in enumerate(path) if letter == "/"}
    encoded = {path[:at] + "/%2f" + path[at + 1 :] for at in range(1, len(path)) if path[at] == "/"}
    dotted = {path[:at] + "/./" + path[at + 1 :] for at in range(1, len(path)) if path[at] == "/"}
    ends = {f"{path}/", f"{path}//", f"{path}/.", f"{path}/..", f"{path}?next=//evil.example"}
    return doubled | encoded | dotted | ends | {f"//evil.example{path}", f"/\\evil.example{path}"}


def assert_no_redirect(answer: Answer, address: str) -> None:
    assert not 300 <= answer.status < 400, (address, answer)
    assert "location" not in dict(answer.headers), address
    assert b"evil" not in answer.body, address


def test_no_address_is_answered_by_a_redirect(
    app: Flask, door: Door, shop: Shop, client: object
) -> None:
    asked = {(method, odd) for method, path in routes(app) for odd in odd_addresses(path)}
    assert len(asked) > 500
    for method, address in sorted(asked):
        assert_no_redirect(door.ask(method, address, b"", EVIL), address)


@pytest.mark.parametrize("method", ["POST", "GET", "HEAD", "PUT", "DELETE"])
@pytest.mark.parametrize("path", ["/api//bid", "/api/%2fbid", "/api//sessions", "/ws//x"])
def test_a_doubled_slash_is_another_address(door: Door, shop: Shop, method: str, path: str) -> None:
    answer = door.ask(method, path, b"", {**EVIL, "Content-Type": "application/json"})
    assert_no_redirect(answer, path)
    assert answer.status == 404
    if method != "HEAD":
        assert json.loads(answer.body)["code"] == "not_found"
