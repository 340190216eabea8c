"""The shop's system, the sender of its webhooks, and messages that are due."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import BaseServer
from threading import Thread
from typing import Any

from core.config.channels import WebhookSettings
from core.notifications.announcing import Announcing
from core.notifications.shop_events import fan_out
from core.notifications.webhooks import Webhooks
from core.sessions.sessions import SessionView
from tests.support.factories import Shop

KEY = b"0123456789abcdefghijklmnop"
AT_ONCE = (timedelta(0),) * 3
NO_MORE = timedelta(hours=1)


class Receiver:
    """The shop's system: keeps what it got, and answers the statuses it is given, then 204."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.answers: list[int] = []
        self.got: list[tuple[dict[str, str], bytes]] = []
        # Called before each answer.
        self.meanwhile: Callable[[], object] = lambda: None


@contextmanager
def receiving() -> Iterator[Receiver]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            found.got.append(({name.lower(): text for name, text in self.headers.items()}, body))
            found.meanwhile()
            with suppress(OSError):  # the sender may have left
                self.send_response(found.answers.pop(0) if found.answers else 204)
                self.send_header("location", found.url + "elsewhere")
                self.send_header("content-length", "0")
                self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    with listening(server):
        found = Receiver(f"http://127.0.0.1:{server.server_port}/hook?token=hidden")
        yield found


@contextmanager
def listening(server: BaseServer) -> Iterator[None]:
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def webhooks(
    shop: Shop,
    receiver: Receiver,
    retry_delays: tuple[timedelta, ...] = AT_ONCE,
    *,
    key: bytes = KEY,
    deadline_seconds: float = 30,
) -> Webhooks:
    services = shop.services
    return Webhooks(
        services.database,
        services.runtime.loop,
        WebhookSettings(receiver.url, key),
        retry_delays=retry_delays,
        deadline_seconds=deadline_seconds,
    )


def told_session(shop: Shop, bidders: int = 3) -> SessionView:
    session = shop.session(inventory=2, alpha=1.0, beta=0.0, gamma=0.0)
    for number in range(bidders):
        shop.bid(shop.bidder(), session, str(150 - number))
    shop.close(session)
    announcing = Announcing(shop.services.database, by_email=False)
    announcing.announce(session.session_id, seconds=30)
    with shop.services.database.begin() as db:
        fan_out(db, by_setting=True)
    return session


def only_delivery(sender: Webhooks) -> Any:
    [delivery], total = sender.list(None, page=1, page_size=50)
    assert total == 1
    return delivery
