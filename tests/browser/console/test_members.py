"""Members in the console: found, shown with their offers, disabled and enabled."""

from collections.abc import Callable
from uuid import UUID, uuid4

import pytest
from playwright.sync_api import Locator, Route, expect
from sqlalchemy import insert

from core.bootstrap import Services
from core.postgres.models import User
from tests.browser.board import NewSession, first
from tests.browser.console.boss import Boss, sell, username_of
from tests.browser.console.conftest import Fits
from tests.browser.test_screens import LONG_NAME
from tests.support.http.client import Client

PAGE = 20
MEMBERS = "/#/admin/members"
NewMember = Callable[..., Client]


def register(services: Services, *usernames: str) -> None:
    rows = [
        {
            "id": uuid4(),
            "username": name,
            "email": f"{uuid4().hex}@example.com",
            "password_hash": "-",
        }
        for name in usernames
    ]
    with services.database.begin() as db:
        db.execute(insert(User), rows)


def links(boss: Boss) -> Locator:
    return boss.page.locator(".rows h2 a")


def test_members_are_found_by_part_of_their_name_and_paged(boss: Boss, services: Services) -> None:
    tag = uuid4().hex[:8]
    names = [f"{tag} {letter}" for letter in "abcdefghijklmnopqrstu"]
    register(services, *names)
    boss.visitor.go(MEMBERS)
    boss.find(tag.upper())
    expect(links(boss)).to_have_text(names[:PAGE])
    count = boss.page.get_by_text(f"{len(names)} members")
    boss.press("Next")
    expect(links(boss)).to_have_text(names[PAGE:])
    expect(count).to_be_focused()

    boss.open(names[PAGE])
    expect(boss.page.get_by_role("heading", level=1)).to_have_text(names[PAGE])
    boss.page.go_back()
    expect(links(boss)).to_have_text(names[:PAGE])


def test_markup_in_a_search_is_text(boss: Boss) -> None:
    boss.visitor.go(MEMBERS)
    boss.find("<b>&page=x%")
    expect(boss.page.get_by_text("0 members")).to_be_visible()


def test_a_member_is_disabled_and_enabled_by_keyboard(boss: Boss, member: NewMember) -> None:
    bob = member()
    name = username_of(bob)
    boss.visitor.go(f"{MEMBERS}/{bob.user_id}")
    button = boss.page.get_by_role("button", name=f"Disable: {name}")
    button.press("Enter")
    expect(boss.dialog).to_contain_text("signed out at once")
    boss.page.keyboard.press("Escape")
    expect(button).to_be_focused()
    assert bob.get("/api/auth/me").status == 200

    button.press("Enter")
    boss.dialog.get_by_role("button", name="Disable").press("Enter")
    expect(boss.outcome).to_have_text(f"{name} is disabled.")
    expect(boss.page.get_by_text("Member, disabled")).to_be_visible()
    assert bob.get("/api/auth/me").json["code"] == "account_disabled"

    enable = boss.page.get_by_role("button", name=f"Enable: {name}")
    expect(enable).to_be_focused()
    enable.press("Enter")
    boss.dialog.get_by_role("button", name="Enable").press("Enter")
    expect(boss.outcome).to_have_text(f"{name} is enabled.")
    assert bob.get("/api/auth/me").status == 200


def test_a_member_is_disabled_from_the_list(boss: Boss, member: NewMember) -> None:
    bob = member()
    name = username_of(bob)
    boss.visitor.go(MEMBERS)
    boss.find(name)
    boss.press(f"Disable: {name}")
    boss.confirm("Disable")
    expect(boss.page.get_by_role("listitem").filter(has_text=name)).to_contain_text("disabled")
    assert bob.get("/api/auth/me").json["code"] == "account_disabled"


def test_there_is_no_button_for_the_own_account_and_for_deleted_ones(
    boss: Boss, admin: Client, member: NewMember, services: Services
) -> None:
    gone = member()
    services.erasure.erase(UUID(gone.user_id))
    for user_id, standing in ((gone.user_id, "Deleted"), (admin.user_id, "Admin")):
        boss.visitor.go(f"{MEMBERS}/{user_id}")
        expect(boss.page.get_by_label("Account")).to_contain_text(standing)
        expect(boss.page.get_by_role("button", name="Disable")).to_have_count(0)
        expect(boss.page.get_by_role("button", name="Enable")).to_have_count(0)


def test_what_is_refused_is_said_beside_the_button(
    boss: Boss, member: NewMember, services: Services
) -> None:
    bob = member()
    name = username_of(bob)
    boss.visitor.go(f"{MEMBERS}/{bob.user_id}")
    boss.press(f"Disable: {name}")
    services.erasure.erase(UUID(bob.user_id))
    boss.confirm("Disable")
    expect(boss.outcome).to_contain_text("No account")
    expect(boss.page.get_by_label("Account")).to_contain_text("Deleted")
    assert boss.visitor.forgive()


def test_a_members_offers_say_what_to_pay_until_when(
    boss: Boss, admin: Client, member: NewMember, new_session: NewSession
) -> None:
    bob = member()
    session_id = sell(admin, new_session, [bob], name="Lamp", inventory=1)
    [offer] = admin.get(f"/api/admin/members/{bob.user_id}/offers").json
    boss.visitor.go(f"{MEMBERS}/{bob.user_id}")
    row = boss.page.get_by_role("listitem").filter(has_text="Lamp")
    expect(row).to_contain_text("pays €900.00")
    expect(row).to_contain_text("Open until")
    admin.put(f"/api/admin/sessions/{session_id}/offers/{offer['offer_id']}/paid")
    expect(row).to_contain_text("Paid since")
    row.get_by_role("link", name="Lamp").click()
    expect(boss.page.get_by_role("heading", level=1)).to_have_text("Lamp")


@pytest.mark.parametrize("name", [LONG_NAME[:50], "ada"])
def test_members_fit_and_can_be_read(boss: Boss, fits: Fits, services: Services, name: str) -> None:
    name = f"{uuid4().hex[:6]}{name}"[:50]
    register(services, name)
    boss.visitor.go(MEMBERS)
    boss.find(name)
    expect(links(boss)).to_have_text([name])
    fits(boss, "members")
    boss.open(name)
    expect(boss.page.get_by_text("0 offers")).to_be_visible()
    fits(boss, "member")
    boss.press(f"Disable: {name}")
    fits(boss, "question")


def test_a_view_takes_no_path_of_the_next_one_for_its_own(boss: Boss, member: NewMember) -> None:
    """While that one's module loads: there is no member with an endpoint's id."""
    boss.visitor.go(f"{MEMBERS}/{member().user_id}")
    expect(boss.page.get_by_text("0 offers")).to_be_visible()
    held: list[Route] = []
    boss.page.route("**/console/webhooks.js", lambda route: held.append(route))  # noqa: PLW0108
    boss.page.evaluate(f"location.hash = '#/admin/webhooks/{uuid4()}'")
    first(held, boss.visitor).continue_()
    expect(boss.page.get_by_text("There is no such endpoint.")).to_be_visible()
