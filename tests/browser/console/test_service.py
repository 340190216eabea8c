"""The log, the settings and the e-mails in the console."""

from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import expect
from sqlalchemy import text

from core.bootstrap import Services
from core.operations.configuration import VERSION
from dev.stack import wait_until
from tests.browser.board import NewSession
from tests.browser.console.boss import Boss, a_name, sell, username_of
from tests.browser.console.conftest import Fits
from tests.support.http.client import Client

WAIT_SECONDS = 60
EMAILS = """
    INSERT INTO email_deliveries (notification_id, next_attempt_at)
    SELECT id, now() + interval '1 hour' FROM notifications WHERE session_id = :session_id
"""


def test_the_log_says_who_did_what_and_how_it_went(
    boss: Boss, admin: Client, new_session: NewSession, fits: Fits
) -> None:
    name = a_name()
    session_id = new_session(name=name)["session_id"]
    admin.put(f"/api/admin/sessions/{session_id}/close")
    assert admin.put(f"/api/admin/sessions/{session_id}/cancel", reason="Damaged.").status == 409
    boss.visitor.go("/#/admin/actions")
    rows = boss.page.locator(".rows > li")
    refused, closed, made = (rows.nth(number) for number in range(3))
    expect(refused).to_contain_text("cancel session")
    expect(refused).to_contain_text("refused")
    expect(closed).to_contain_text(f"close · by {username_of(admin)}")
    expect(closed).to_contain_text("done")
    expect(made).to_contain_text("add product and session")
    made.get_by_text("Details").press("Enter")
    expect(made).to_contain_text(name)
    expect(made).to_contain_text("upset_price")
    fits(boss, "log")


def test_the_log_comes_in_pages_newest_first(boss: Boss, admin: Client) -> None:
    names = [a_name("Pen") for _ in range(21)]
    for name in names:
        assert admin.post("/api/admin/products", name=name).status == 201
    boss.visitor.go("/#/admin/actions")
    rows = boss.page.locator(".rows > li")
    expect(rows).to_have_count(20)
    expect(rows.first).to_contain_text(names[-1])
    boss.press("Next")
    expect(rows.first).to_contain_text(names[0])


@pytest.fixture
def unsafe_redis(services: Services) -> Iterator[None]:
    before = services.redis.config_get("appendfsync")["appendfsync"]
    services.redis.config_set("appendfsync", "everysec")
    yield
    services.redis.config_set("appendfsync", before)


def test_settings_show_what_runs_and_what_may_lose_bids(
    boss: Boss, services: Services, unsafe_redis: None, fits: Fits
) -> None:
    boss.visitor.go("/#/admin/settings")
    findings = boss.page.locator("section").filter(has_text="How bids are kept")
    expect(findings).to_contain_text("everysec")
    channels = boss.page.locator("section").filter(has_text="Notifications")
    expect(channels).to_contain_text("E-mailOff")
    versions = boss.page.locator("section").filter(has_text="Versions")
    expect(versions).to_contain_text(f"Flashbid{VERSION}")
    in_effect = boss.page.locator("section").filter(has_text="Settings in effect")
    expect(in_effect).to_contain_text(f"Currency{services.settings.currency}")
    expect(in_effect).to_contain_text("Refused bids per minuteNo limit")
    fits(boss, "settings")


def test_emails_say_whether_they_were_sent(
    boss: Boss,
    admin: Client,
    member: Callable[..., Client],
    new_session: NewSession,
    services: Services,
    fits: Fits,
) -> None:
    """The stack sends none; one that does wrote this one."""
    bidder = member()
    session_id = sell(admin, new_session, [bidder])
    assert wait_until(lambda: bidder.get("/api/notifications").json, WAIT_SECONDS)
    with services.engine.begin() as connection:
        connection.execute(text(EMAILS), {"session_id": session_id})
    boss.visitor.go("/#/admin/emails")
    expect(boss.page.get_by_text("Off: SMTP_HOST is not set.")).to_be_visible()
    row = boss.page.locator(".rows > li").first
    expect(row).to_contain_text("Waiting")
    fits(boss, "emails")
    boss.page.get_by_label("State").select_option("Given up")
    expect(boss.page.get_by_text("0 messages")).to_be_visible()
    boss.page.get_by_label("State").select_option("Waiting")
    row.get_by_role("link", name="member").click()
    expect(boss.page.get_by_role("heading", level=1)).to_have_text(username_of(bidder))
