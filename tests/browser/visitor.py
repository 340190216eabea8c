"""Somebody in front of a browser."""

from playwright.sync_api import ConsoleMessage, Locator, Page

from tests.support.http.client import Client

TOKEN_KEY = "flashbid.token"
# The host of the shop's pictures by IMAGE_HOSTS, whose place this takes.
PICTURES = "https://images.shop.example/"


class Visitor:
    """A page, with what it asked for and complained about. `client` lends its token."""

    def __init__(self, page: Page, port: int, client: Client | None) -> None:
        self.page, self.origin = page, f"http://127.0.0.1:{port}"
        self.requested: list[str] = []
        self.complaints: list[str] = []
        page.on("request", lambda request: self.requested.append(request.url))
        page.on("console", self._hear)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        if client is not None:
            script = f"localStorage.setItem({TOKEN_KEY!r}, {client.token!r})"
            page.add_init_script(script)

    def go(self, path: str = "/") -> "Visitor":
        self.page.goto(self.origin + path)
        return self

    def watch(self, session_id: str) -> "Visitor":
        self.go(f"/#/session/{session_id}")
        self.page.locator("#board").wait_for()
        return self

    def bid(self, price: float) -> None:
        self.page.get_by_label("Your price").fill(str(price))
        self.page.get_by_role("button", name="Place bid").click()

    @property
    def standing(self) -> Locator:
        return self.page.locator("#standing")

    @property
    def rows(self) -> Locator:
        return self.page.locator("#board tbody tr")

    def check(self) -> None:
        """The browser had nothing to complain of, and asked nobody but us."""
        assert self.complaints == [], self.complaints
        ours = (self.origin, PICTURES)
        assert [url for url in self.requested if not url.startswith(ours)] == []

    def forgive(self) -> list[str]:
        """What was complained of and asked of others so far; it is forgotten then."""
        said, self.complaints, self.requested = self.complaints, [], []
        return said

    def _hear(self, message: ConsoleMessage) -> None:
        if message.type in {"error", "warning"}:
            self.complaints.append(message.text)
