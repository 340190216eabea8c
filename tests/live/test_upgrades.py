"""What becomes a WebSocket, and for which pages."""

import json
import socket

import pytest

from tests.live.conftest import TIMEOUT_SECONDS, UPGRADE, Web, has_place, refusal
from tests.support.factories import Shop

NO_HANDSHAKES = {
    "a short key": {"Sec-WebSocket-Key": "short"},
    "an empty key": {"Sec-WebSocket-Key": ""},
    "no key": {"Sec-WebSocket-Key": None},
    "an older version": {"Sec-WebSocket-Version": "8"},
    "a later version": {"Sec-WebSocket-Version": "14"},
    "no version": {"Sec-WebSocket-Version": None},
    "two versions": {"Sec-WebSocket-Version": "13, 8"},
    "a connection that closes": {"Connection": "close"},
    "no connection option": {"Connection": None},
    "another protocol": {"Upgrade": "h2c"},
    "no protocol": {"Upgrade": None},
    "a page that was opened": dict.fromkeys(UPGRADE),
}


@pytest.mark.parametrize("kind", NO_HANDSHAKES)
@pytest.mark.parametrize("room", ["a session", "sessions", "x"])
def test_what_is_no_handshake_is_told_to_upgrade(
    web: Web, shop: Shop, kind: str, room: str
) -> None:
    session_id = shop.session().session_id
    path = f"/ws/{session_id}" if room == "a session" else f"/ws/{room}"
    sent = {
        name: text for name, text in (UPGRADE | NO_HANDSHAKES[kind]).items() if text is not None
    }
    status, headers, body = refusal(web, path, sent)
    assert (status, json.loads(body)["code"]) == (426, "upgrade_required")
    assert headers["Content-Type"] == "application/problem+json"
    assert (headers["Upgrade"], headers["Sec-WebSocket-Version"]) == ("websocket", "13")
    assert "Upgrade" in ", ".join(headers.get_all("Connection"))
    assert has_place(web, session_id)


def test_a_handshake_by_post_is_told_to_upgrade(web: Web, shop: Shop) -> None:
    assert refusal(web, f"/ws/{shop.session().session_id}", UPGRADE, "POST")[0] == 426


HOME, OTHER = "http://shop.example", "https://pages.example"


ORIGINS: list[tuple[list[str], bool]] = [
    ([], True),
    ([HOME], True),
    (["HTTP://SHOP.EXAMPLE"], True),
    (["https://shop.example"], False),
    (["http://shop.example:8000"], False),
    (["http://shop.example.evil.example"], False),
    (["http://evil.example"], False),
    (["http://shop.example@evil.example"], False),
    (["http://[::1"], False),
    (["null"], False),
    ([""], True),
    ([OTHER], True),
    (["https://PAGES.example"], True),
    (["https://pages.example:444"], False),
]


def test_only_the_own_pages_and_those_of_cors_origins_may_watch(web: Web, shop: Shop) -> None:
    path = f"/ws/{shop.session().session_id}"
    with web.changed(CORS_ORIGINS=OTHER):
        answers = [handshake(web, path, origins) for origins, _ in ORIGINS]
    for (origins, may_watch), answer in zip(ORIGINS, answers, strict=True):
        assert answer.startswith(b"HTTP/1.1 101" if may_watch else b"HTTP/1.1 403"), origins
        assert may_watch or b'"code":"origin_not_allowed"' in answer


def handshake(web: Web, path: str, origins: list[str]) -> bytes:
    """The answer to a handshake with these Origin headers."""
    lines = [
        f"GET {path} HTTP/1.1",
        "Host: shop.example:80",
        *(f"{name}: {text}" for name, text in UPGRADE.items()),
        *(f"Origin: {origin}" for origin in origins),
    ]
    with socket.create_connection(("127.0.0.1", web.port), TIMEOUT_SECONDS) as connection:
        connection.sendall("\r\n".join((*lines, "", "")).encode())
        answer = connection.recv(4096)
        is_refused = not answer.startswith(b"HTTP/1.1 101")
        return answer + read_all(connection) if is_refused else answer


def read_all(connection: socket.socket) -> bytes:
    return b"".join(iter(lambda: connection.recv(4096), b""))


@pytest.mark.parametrize("path", ["/ws/", "/ws/a/b", "/ws", "/api/bid", "/health"])
def test_nothing_else_can_be_watched(web: Web, path: str) -> None:
    status, headers, body = refusal(web, path, UPGRADE)
    if path == "/ws/":
        assert status == 101
    else:
        assert (status, json.loads(body)["code"]) == (404, "not_found")
        assert headers["X-Content-Type-Options"] == "nosniff"


def test_a_page_of_the_original_stays_connected_and_hears_nothing(web: Web, shop: Shop) -> None:
    """It would connect again for ever, whatever it is closed with."""
    session = shop.session()
    with web.watch("sessions") as page:
        shop.bid(shop.bidder(), session, "150")
        with pytest.raises(TimeoutError):
            page.frame(timeout=1)
        page.socket.send("ping")
        assert page.socket.recv(timeout=TIMEOUT_SECONDS) == "pong"
