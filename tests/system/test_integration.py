"""The order system of docs/how-to/integration.md, line by line, against the whole stack."""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Thread
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest
from flask import Flask
from werkzeug.serving import WSGIRequestHandler, make_server

from core.config import PROJECT_ROOT
from dev.children import free_port
from dev.stack import Stack, wait_until
from tests.support.http.client import Client

PAGE = (PROJECT_ROOT / "docs" / "how-to" / "integration.md").read_text()
[CODE] = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)


class Silent(WSGIRequestHandler):
    def log_request(self, *_: Any) -> None:
        pass


@contextmanager
def running(port: int, **environ: str) -> Iterator[dict[str, Any]]:
    """The order system's orders, while it listens on this port."""
    names: dict[str, Any] = {}
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environ.items():
            patch.setenv(name, value)
        exec(CODE, names)  # noqa: S102 - the page's own lines
    server = make_server("127.0.0.1", port, names["app"], request_handler=Silent)
    thread = Thread(target=server.serve_forever)
    thread.start()
    try:
        yield names["orders"]
    finally:
        server.shutdown()
        thread.join()


def post(url: str, body: bytes = b"") -> int:
    try:
        with urlopen(Request(url, body, method="POST")) as response:  # noqa: S310 - our own
            return int(response.status)
    except HTTPError as refused:
        with refused:
            return refused.code


@pytest.fixture
def calling_stack(stack: Stack) -> Iterator[Stack]:
    """It may send webhooks to this machine."""
    with stack.with_settings(("web", "notifier"), {"WEBHOOK_ALLOWED_NETWORKS": "127.0.0.0/8"}):
        yield stack


@pytest.fixture
def api_key(calling_stack: Stack, app: Flask, admin: Client) -> str:
    """Made by the page's first command."""
    [command] = re.findall(r"flask --app web (create-api-key .*)", PAGE)
    owner = admin.get("/api/auth/me").json["username"]
    with app.app_context():
        made = app.test_cli_runner().invoke(args=[*command.split(), "--owner", owner])
    assert made.exit_code == 0, made.output
    return made.stdout.strip()


def test_an_order_is_made_and_paid(
    calling_stack: Stack,
    admin: Client,
    api_key: str,
    member: Callable[..., Client],
    new_session: Callable[..., dict[str, Any]],
    capsys: pytest.CaptureFixture[str],
) -> None:
    port = free_port()
    place = f"http://127.0.0.1:{port}"
    made = admin.post(
        "/api/admin/webhook-endpoints",
        url=f"{place}/flashbid",
        events=["offer.opened", "offer.paid", "offer.expired"],
    )
    assert made.status == 201, made
    shop = {"SHOP": f"http://127.0.0.1:{calling_stack.port}", "API_KEY": api_key}
    with running(port, WEBHOOK_SECRET=made.json["secret"], **shop) as orders:
        session_id = new_session(inventory=1)["session_id"]
        assert member().bid(session_id, 150).status == 200
        admin.put(f"/api/admin/sessions/{session_id}/close")
        assert wait_until(lambda: len(orders) == 1, 30)
        [offer_id] = orders
        assert (orders[offer_id]["rank"], orders[offer_id]["state"]) == (1, "open")

        assert post(f"{place}/flashbid", b'{"type": "offer.paid", "data": {}}') == 500

        for _ in range(2):
            assert post(f"{place}/payments/{offer_id}") == 204
        assert wait_until(lambda: orders[offer_id]["state"] == "paid", 30)
    [offer] = admin.get(f"/api/admin/sessions/{session_id}/offers").json
    assert (offer["offer_id"], offer["state"]) == (offer_id, "paid")
    said = capsys.readouterr().out
    assert "Please pay 150" in said
    assert f"Ship Item to {offer['email']}" in said
