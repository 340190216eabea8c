"""Webhooks in the console: endpoints with their secrets, and what was sent to them."""

from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import pytest
from playwright.sync_api import Locator, expect
from standardwebhooks.webhooks import Webhook

from core.notifications.shop_events import EventKind
from dev.stack import Stack, wait_until
from tests.browser.board import NewSession, Visit
from tests.browser.console.boss import Boss
from tests.browser.console.conftest import Fits
from tests.support.http.client import Client

WEBHOOKS = "/#/admin/webhooks"
CLIPBOARD = ["clipboard-read", "clipboard-write"]
WAIT_SECONDS = 60


class Receiver:
    """A system of the shop's. `received`: each message's headers and body; `status`: its answer."""

    def __init__(self) -> None:
        self.status = 204
        self.received: list[tuple[dict[str, str], bytes]] = []
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                receiver.received.append((dict(self.headers), body))
                self.send_response(receiver.status)
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/hook"

    def await_messages(self, count: int) -> None:
        assert wait_until(lambda: len(self.received) >= count, WAIT_SECONDS), self.received


@pytest.fixture
def receiver(stack: Stack) -> Iterator[Receiver]:
    receiver = Receiver()
    thread = Thread(target=receiver.server.serve_forever)
    thread.start()
    with stack.with_settings(("web", "notifier"), {"WEBHOOK_ALLOWED_NETWORKS": "127.0.0.0/8"}):
        yield receiver
    receiver.server.shutdown()
    receiver.server.server_close()
    thread.join()


def endpoint_of(admin: Client, url: str, *events: str) -> str:
    made = admin.post("/api/admin/webhook-endpoints", url=url, events=events)
    assert made.status == 201, made
    return str(made.json["endpoint"]["endpoint_id"])


def deliveries(boss: Boss) -> Locator:
    return boss.page.locator("section").filter(has_text="Deliveries").get_by_role("listitem")


def test_an_endpoint_is_made_tested_changed_and_deleted(
    visit: Visit, admin: Client, receiver: Receiver
) -> None:
    boss = Boss(visit, admin, permissions=CLIPBOARD)
    boss.visitor.go(WEBHOOKS)
    boss.open("New endpoint")
    boss.page.get_by_label("Address").fill(receiver.url)
    boss.page.get_by_label("offer.paid").check()
    boss.press("Create endpoint")
    shown = boss.page.get_by_label("Secret").get_by_role("textbox")
    expect(shown).to_be_focused()
    secret = shown.input_value()
    boss.press("Copy")
    expect(boss.page.get_by_text("Copied.")).to_be_visible()
    assert boss.page.evaluate("navigator.clipboard.readText()") == secret

    boss.open("To the endpoint")
    expect(boss.page.get_by_role("heading", level=1)).to_have_text(receiver.url)
    assert secret not in boss.page.content()
    boss.press("Send a test")
    receiver.await_messages(1)
    [(headers, body)] = receiver.received
    assert Webhook(secret).verify(body, headers)["type"] == "webhook.test"
    expect(deliveries(boss)).to_contain_text(["webhook.test"])
    expect(deliveries(boss)).to_contain_text(["Delivered"])

    boss.press("New secret")
    expect(boss.dialog).to_contain_text("24 hours")
    boss.confirm("New secret")
    expect(shown).to_be_focused()
    assert shown.input_value() != secret

    boss.page.get_by_label("offer.paid").uncheck()
    boss.page.get_by_label("session.ended").check()
    boss.press("Save")
    expect(boss.outcome).to_have_text("Saved.")
    boss.press("Pause")
    expect(boss.outcome).to_contain_text("its messages wait")
    expect(boss.page.get_by_text("Paused · since")).to_be_visible()
    [endpoint] = found(admin, receiver.url)
    assert (endpoint["events"], endpoint["state"]) == (["session.ended"], "paused")
    enable = boss.page.get_by_role("button", name="Enable")
    expect(enable).to_be_focused()
    enable.press("Enter")
    expect(boss.outcome).to_contain_text("gets messages again")

    boss.press("Delete")
    expect(boss.dialog).to_contain_text("cannot be undone")
    boss.confirm("Delete")
    expect(boss.page.get_by_role("heading", level=1)).to_have_text("Webhooks")
    assert found(admin, receiver.url) == []


def found(admin: Client, url: str) -> list[dict[str, Any]]:
    endpoints = admin.get("/api/admin/webhook-endpoints?page_size=100").json
    return [each for each in endpoints if each["url"] == url]


def test_what_was_not_accepted_is_found_by_its_state_and_sent_again(
    boss: Boss, admin: Client, receiver: Receiver, new_session: NewSession
) -> None:
    receiver.status = 500
    endpoint_id = endpoint_of(admin, receiver.url, "session.created")
    new_session()
    receiver.await_messages(1)
    boss.visitor.go(f"{WEBHOOKS}/{endpoint_id}")
    expect(boss.page.get_by_text("failing since")).to_be_visible()
    state = boss.page.get_by_label("State")
    state.select_option("Delivered")
    expect(deliveries(boss)).to_have_count(0)
    state.select_option("Waiting")
    expect(deliveries(boss)).to_contain_text(["500"])

    receiver.status = 204
    boss.press("Send again: session.created")
    expect(boss.page.get_by_text("is sent again")).to_be_visible()
    state.select_option("Delivered")
    expect(deliveries(boss)).to_contain_text(["session.created"])
    assert len({headers["webhook-id"] for headers, _ in receiver.received}) == 1


def test_an_endpoint_that_wants_no_more_says_why_it_is_disabled_and_is_enabled_again(
    boss: Boss, admin: Client, receiver: Receiver, new_session: NewSession, fits: Fits
) -> None:
    receiver.status = 410
    endpoint_id = endpoint_of(admin, receiver.url, "session.created")
    new_session()
    boss.visitor.go(WEBHOOKS)
    row = boss.page.get_by_role("listitem").filter(has_text=receiver.url)
    expect(row).to_contain_text("Disabled · answered 410 · since")
    fits(boss, "webhooks")
    row.get_by_role("link").click()
    expect(boss.page.get_by_text("answered 410").first).to_be_visible()
    fits(boss, "endpoint")
    boss.press("Enable")
    expect(boss.page.get_by_text("gets messages again")).to_be_visible()
    assert found(admin, receiver.url)[0]["state"] == "enabled"
    assert admin.get(f"/api/admin/webhook-deliveries?endpoint_id={endpoint_id}").json


def test_an_address_that_is_refused_is_marked_and_has_the_focus(boss: Boss) -> None:
    boss.visitor.go(f"{WEBHOOKS}/new")
    address = boss.page.get_by_label("Address")
    address.fill("http://shop.example/hook")
    boss.press("Create endpoint")
    expect(boss.page.get_by_role("alert")).to_have_text("Choose at least one event.")
    boss.page.get_by_label("offer.paid").check()
    boss.press("Create endpoint")
    expect(address).to_be_focused()
    expect(address).to_have_attribute("aria-invalid", "true")
    expect(boss.page.get_by_text("Must be an https URL.")).to_be_visible()
    assert boss.visitor.forgive()


def test_every_event_can_be_chosen(boss: Boss, fits: Fits) -> None:
    boss.visitor.go(f"{WEBHOOKS}/new")
    boxes = boss.page.get_by_role("checkbox")
    expect(boxes).to_have_count(len(EventKind))
    assert {box.get_attribute("name") for box in boxes.all()} == set(EventKind)
    fits(boss, "new endpoint")


def test_the_endpoint_of_the_settings_keeps_its_address_and_secret(
    boss: Boss, stack: Stack
) -> None:
    key = "whsec_" + "a" * 44
    settings = {"WEBHOOK_URL": "https://shop.example/hook", "WEBHOOK_SECRET": key}
    with stack.with_settings(("web",), settings):
        boss.visitor.go(WEBHOOKS)
        boss.open("The endpoint of WEBHOOK_URL")
        expect(boss.page.get_by_role("button", name="Send a test")).to_be_visible()
        for name in ("New secret", "Delete"):
            expect(boss.page.get_by_role("button", name=name)).to_have_count(0)
        expect(boss.page.get_by_label("Address", exact=True)).to_have_count(0)
        expect(boss.page.get_by_label("offer.paid")).to_be_visible()
