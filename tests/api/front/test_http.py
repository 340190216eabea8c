"""Methods, addresses and files: what HTTP itself asks for."""

import re
from dataclasses import replace

import pytest
from flask.testing import FlaskClient

from tests.api.conftest import CheckedClient
from tests.support.factories import Shop
from web import create_app
from web.lane import BOARD_PREFIX

METHODS = ["GET", "POST", "PUT", "DELETE", "PATCH"]
# To these methods `combined` is a session's id.
OF_OTHERS = {"/api/admin/sessions/combined": {"PATCH"}}


def test_wrong_method_is_told_the_right_ones(anyone: CheckedClient) -> None:
    operations = anyone.document.operations()
    paths = {key.split()[1] for key in operations}
    for path in paths:
        right = {method for method in METHODS if f"{method} {path}" in operations}
        for method in set(METHODS) - right - OF_OTHERS.get(path, set()):
            answer = anyone.open(path, method=method)
            assert (answer.status_code, answer.json["code"]) == (405, "method_not_allowed")
            assert right <= set(answer.headers["Allow"].split(", "))


@pytest.mark.parametrize(
    "path",
    ["/nothing", "/api", "/api/", "/api/nothing", "/api/session", "/API/sessions", "/.env", "/%00"],
)
@pytest.mark.parametrize("method", METHODS)
def test_unknown_address_is_not_found(anyone: CheckedClient, path: str, method: str) -> None:
    answer = anyone.open(path, method=method)
    assert (answer.status_code, answer.json["code"]) == (404, "not_found")


@pytest.mark.parametrize(
    "path",
    [
        "/docs/assets/../../../web/app.py",
        "/docs/assets/..%2f..%2f..%2fetc/passwd",
        "/docs/assets/%2e%2e/%2e%2e/__init__.py",
        "/docs/assets/..\\..\\__init__.py",
        "/docs/assets//etc/passwd",
        "/docs/assets/%00",
        "/docs/assets/swagger-ui.css%00.html",
        "/docs/assets/",
        "/docs/assets/nothing.js",
        f"/docs/assets/{'x' * 3000}",
        "/docs/assets/.",
        "/board/../../page.py",
        "/board/..%2f..%2fpage.py",
        "/board/nothing.js",
    ],
)
def test_only_the_pages_own_files_are_served(anyone: CheckedClient, path: str) -> None:
    answer = anyone.get(path, follow_redirects=True)
    assert (answer.status_code, answer.json["code"]) == (404, "not_found")


def test_head_answers_as_get_without_a_body(anyone: CheckedClient, shop: Shop) -> None:
    session = shop.session()
    for path in ("/api/sessions", f"/api/sessions/{session.session_id}", "/docs", "/openapi.json"):
        head, get = anyone.head(path), anyone.get(path)
        assert (head.status_code, head.data) == (200, b"")
        assert head.mimetype == get.mimetype
        assert head.headers["Content-Length"] == get.headers["Content-Length"]


def test_options_names_the_methods_and_does_nothing(anyone: CheckedClient, shop: Shop) -> None:
    before = shop.redis_state()
    for path in ("/api/bid", "/api/admin/products", "/api/auth/logout"):
        answer = anyone.options(path)
        assert answer.status_code == 200
        assert {"OPTIONS", "POST"} <= set(answer.headers["Allow"].split(", "))
    assert shop.redis_state() == before


@pytest.mark.parametrize("path", ["/api/sessions/", "/api/sessions/active/", "/health/", "/docs/"])
def test_slash_at_the_end_makes_no_difference(anyone: CheckedClient, path: str) -> None:
    assert anyone.get(path).status_code == 200


def test_every_answer_is_marked_against_sniffing_framing_and_storing(
    admin: CheckedClient, shop: Shop
) -> None:
    board, lane_error = f"{BOARD_PREFIX}{shop.session().session_id}", f"{BOARD_PREFIX}{'x' * 36}"
    for path in ("/api/auth/me", "/api/nothing", "/health", board, lane_error):
        headers = admin.get(path).headers
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Cache-Control"] == "no-store"
        assert headers["Referrer-Policy"] == "no-referrer"
        assert headers["Content-Security-Policy"] == "default-src 'none'; frame-ancestors 'none'"
        assert "Strict-Transport-Security" not in headers


@pytest.mark.parametrize("path", ["/", "/docs"])
def test_no_page_may_be_framed(anyone: CheckedClient, path: str) -> None:
    assert "frame-ancestors 'none'" in anyone.get(path).headers["Content-Security-Policy"]


def test_https_alone_is_asked_for_when_the_setting_says_so(shop: Shop) -> None:
    settings = replace(shop.services.settings, hsts_seconds=31_536_000)
    client = create_app(services=replace(shop.services, settings=settings)).test_client()
    for path in ("/", "/api/nothing", f"{BOARD_PREFIX}{'x' * 36}"):
        answer = client.get(path, buffered=True)
        assert answer.headers["Strict-Transport-Security"] == "max-age=31536000"


# The documentation


def test_docs_load_nothing_from_outside(anyone: CheckedClient) -> None:
    page, start = anyone.get("/docs"), anyone.get("/docs/start.js")
    for answer in (page, start):
        assert answer.status_code == 200
        # Neither https://x nor //x.
        assert not re.search(r"""(https?:|["'(=]\s*)//""", answer.text)
    assert re.search(r"""(https?:|["'(=]\s*)//""", '<script src="//cdn.example/x.js">')


def test_docs_allow_the_browser_nothing_from_outside(anyone: CheckedClient) -> None:
    policy = anyone.get("/docs").headers["Content-Security-Policy"]
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert rules["default-src"] == "'none'"
    sources = {source for rule in rules.values() for source in rule.split()}
    assert sources <= {"'none'", "'self'", "data:", "'unsafe-inline'"}
    assert rules["script-src"] == "'self'"


def test_everything_the_docs_refer_to_is_served(anyone: CheckedClient) -> None:
    page = anyone.get("/docs").text
    references = re.findall(r"""(?:src|href)="([^"]+)\"""", page)
    references += re.findall(r"""DOCUMENT = "([^"]+)\"""", anyone.get("/docs/start.js").text)
    assert len(references) >= 5
    for reference in references:
        answer = anyone.get(reference)
        assert answer.status_code == 200, reference
        assert len(answer.data) > 0


def test_docs_have_no_inline_script(anyone: CheckedClient) -> None:
    """The policy would not run it."""
    assert not re.search(r"<script(?![^>]*\bsrc=)|\son\w+=", anyone.get("/docs").text)


# The board page


def test_board_page_runs_only_its_own_files(anyone: CheckedClient) -> None:
    policy = anyone.get("/").headers["Content-Security-Policy"]
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert rules["default-src"] == "'none'"
    assert rules.pop("img-src") == "'self' https://images.shop.example"
    assert {source for rule in rules.values() for source in rule.split()} == {"'none'", "'self'"}


def test_boards_files_are_asked_for_again_by_their_etag(anyone: CheckedClient) -> None:
    first = anyone.get("/board/main.js")
    assert first.mimetype in {"text/javascript", "application/javascript"}
    assert first.headers["Cache-Control"] == "no-cache"
    again = anyone.get("/board/main.js", headers={"If-None-Match": first.headers["ETag"]})
    assert again.status_code == 304


@pytest.mark.parametrize("path", ["/", "/board/main.js", "/docs/assets/swagger-ui.css"])
@pytest.mark.parametrize(
    "date",
    [
        "Mon, 01 Jan 99999999999 00:00:00 GMT",
        "Mon, 01 Jan 2029 99999999999999999999:00:00 GMT",
        "Mon, 01 Jan 2029 00:00:00 +99999999999999",
    ],
)
def test_a_date_that_cannot_be_is_no_date(client: FlaskClient, path: str, date: str) -> None:
    whole = client.get(path, buffered=True)
    for headers in (
        {"If-Modified-Since": date},
        {"If-Range": date, "Range": "bytes=0-3"},
        {"If-Range": date, "Range": "bytes=0-3", "If-Modified-Since": date},
    ):
        answer = client.get(path, buffered=True, headers=headers)
        assert (answer.status_code, answer.data) == (200, whole.data)
    assert client.get(path, buffered=True, headers={"Range": "bytes=0-3"}).data == whole.data[:4]
    dated = {"If-Modified-Since": whole.headers["Last-Modified"]}
    assert client.get(path, buffered=True, headers=dated).status_code == 304
