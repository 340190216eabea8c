"""Shared by the tests of board."""

from collections.abc import Callable
from typing import Any
from uuid import uuid4

from playwright.sync_api import Route, WebSocketRoute, expect

from tests.browser.visitor import TOKEN_KEY, Visitor

# Generous: the machine may be busy.
TIMEOUT_MS = 30_000
SETTLED_MS = 200  # a page needs no longer to say that a request failed
PAGE_LIMIT_BYTES = 120 * 1024
CONSOLE_LIMIT_BYTES = 80 * 1024
BOARD_ROWS = 50
UNREAD = "/api/notifications?unread=true"
OWN_ACCOUNT = "**/api/auth/me"
KEPT_TOKEN = f"localStorage.getItem({TOKEN_KEY!r})"
OWN_PLACE = "**/api/leaderboard/*/me"
PACED = """async () => {
  const { throttle } = await import("/board/lib/throttle.js");
  window.runs = 0;
  const call = throttle(1000, async () => { window.runs += 1; });
  for (let at = 0; at < 5; at += 1) call();
}"""
POLLS = "**/api/leaderboard/**"
NEVER_TIMES_OUT = "AbortSignal.timeout = () => new AbortController().signal"
COUNT_POLLS = f"""
  {NEVER_TIMES_OUT};
  const plain = window.fetch;
  let polls = window.mostPolls = 0;
  window.fetch = (path, options) => {{
    if (!path.startsWith("/api/leaderboard/")) return plain(path, options);
    window.mostPolls = Math.max(window.mostPolls, ++polls);
    return plain(path, options).finally(() => (polls -= 1));
  }};
"""
MARKUP = "<img src=x onerror=alert(1)>"

Visit = Callable[..., Visitor]
NewSession = Callable[..., dict[str, Any]]
expect.set_options(timeout=TIMEOUT_MS)


class Gate:
    """What a page's WebSockets go through: it can be shut, while requests are answered."""

    def __init__(self, visitor: Visitor) -> None:
        self.is_open = True
        self._passed: list[WebSocketRoute] = []
        visitor.page.route_web_socket("**/ws/*", self._take)

    def shut(self) -> None:
        self.is_open = False
        for socket in self._passed:
            socket.close(code=1012)

    def _take(self, socket: WebSocketRoute) -> None:
        if self.is_open:
            self._passed.append(socket)
            socket.connect_to_server()
        else:
            socket.close(code=1013)


class Link:
    """A page's WebSockets on a network that can lose everything without a word."""

    def __init__(self, visitor: Visitor) -> None:
        self.is_silent = False
        self.pongs = 0
        self._sockets: list[WebSocketRoute] = []
        visitor.page.route_web_socket("**/ws/*", self._take)

    def send(self, frame: str) -> None:
        """A frame to the page's newest socket, as the server would send it."""
        self._sockets[-1].send(frame)

    def _take(self, socket: WebSocketRoute) -> None:
        self._sockets.append(socket)
        server = socket.connect_to_server()
        socket.on_message(lambda text: self.is_silent or server.send(text))
        server.on_message(lambda text: self.is_silent or self._pass(socket, text))

    def _pass(self, socket: WebSocketRoute, text: str | bytes) -> None:
        if text == "pong":
            self.pongs += 1
        socket.send(text)


def first(held: list[Route], visitor: Visitor) -> Route:
    """The request that is held back, once it is there."""
    while not held:
        visitor.page.wait_for_timeout(SETTLED_MS)
    return held.pop()


def sign_up(visitor: Visitor, username: str) -> None:
    form = visitor.go("/#/account").page.get_by_role("form", name="Sign up")
    form.get_by_label("Username").fill(username)
    form.get_by_label("E-mail").fill(f"{uuid4().hex}@example.com")
    form.get_by_label("Password").fill("secret-word")
    form.get_by_role("button").click()
    expect(visitor.page.get_by_role("button", name="Sign out")).to_be_visible()
