"""What counts as an answer to a webhook, and how long it is waited for."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from socketserver import StreamRequestHandler, ThreadingTCPServer

import pytest

from core.notifications.outbox import DeliveryStatus
from tests.integration.notifications.dripping import dripping
from tests.integration.notifications.receiving import (
    NO_MORE,
    Receiver,
    listening,
    only_delivery,
    told_session,
    webhooks,
)
from tests.support.factories import Shop


@pytest.mark.parametrize(
    ("scheme", "first"),
    [
        ("http", b""),
        ("http", b"HTTP/1.1 204"),
        ("http", b"HTTP/1.1 100 Continue\r\n"),
        ("https", b"\x16\x03\x03\x40\x00"),
    ],
)
def test_a_receiver_that_drips_is_left_at_the_deadline(
    shop: Shop, scheme: str, first: bytes
) -> None:
    for _ in range(2):
        told_session(shop)
    with dripping(first) as port:
        slow = Receiver(f"{scheme}://127.0.0.1:{port}/hook?token=hidden")
        sender = webhooks(shop, slow, (NO_MORE,), deadline_seconds=0.5)
        sender.deliver_due(seconds=60)
    found, _ = sender.list(None, page=1, page_size=50)
    assert [(each.attempts, each.last_error) for each in found] == [
        (1, "no answer within 0.5 s")
    ] * 2


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (b"HTTP/1.1 204 No Content\r\nno colon\r\n bad: \xff\x00\r\n\r\n", None),
        (b"HTTP/1.0 200\r\n", None),
        (
            b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Hints\r\nlink: x\r\n\r\nHTTP/1.1 202 \r\n",
            None,
        ),
        (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 500 No\r\n\r\n", "answered 500"),
        (b"HTTP/1.1 100 Continue\r\n\r\n", "no valid response"),
        (b"", "no valid response"),
        (b"204 No Content\r\n\r\n", "no valid response"),
        (b"HTTP/1.1 2040 Oops\r\n\r\n", "no valid response"),
        (b"HTTP/2 204\r\n\r\n", "no valid response"),
        (b"x" * 100_000, "no valid response"),
        (b"HTTP/1.1 100 Continue\r\n\r\n" * 300, "no valid response"),
    ],
)
def test_the_status_alone_counts(
    shop: Shop, answer: bytes, error: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    told_session(shop)
    with answering(answer) as port:
        strange = Receiver(f"http://127.0.0.1:{port}/hook?token=hidden")
        sender = webhooks(shop, strange, (NO_MORE,))
        sender.deliver_due(seconds=30)
    delivery = only_delivery(sender)
    assert (delivery.attempts, delivery.last_error) == (1, error)
    assert (delivery.status is DeliveryStatus.DELIVERED) == (error is None)
    assert "hidden" not in caplog.text


@contextmanager
def answering(answer: bytes) -> Iterator[int]:
    """The port of a server that takes one request and says this, whatever was asked."""

    class Handler(StreamRequestHandler):
        def handle(self) -> None:
            with suppress(OSError):
                self.request.recv(65_536)
                self.wfile.write(answer)

    server = ThreadingTCPServer(("127.0.0.1", 0), Handler)
    with listening(server):
        yield server.server_address[1]
