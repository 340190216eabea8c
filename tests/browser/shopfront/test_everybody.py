"""The page for everybody: screen readers, small and enlarged screens, no motion, both schemes."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import expect

from dev.stack import wait_until
from tests.browser.board import UNREAD, NewSession, Visit
from tests.browser.shopfront.accessibility import violations
from tests.browser.shopfront.test_list import tomorrow
from tests.browser.visitor import Visitor
from tests.support.http.client import RESULTS_TIMEOUT_SECONDS, Client

# A phone, and a notebook at 200 %.
NARROW, ENLARGED = {"width": 320, "height": 568}, {"width": 640, "height": 400}
LONG_NAME = "Espressomaschinenreinigungstablettenvorratspackung".join("123")
MOVING = """() => {
  const durations = (node) => getComputedStyle(node).transitionDuration.split(", ");
  const fades = (node) => durations(node).some((each) => each !== "0s");
  return document.getAnimations().length + [...document.querySelectorAll("*")].filter(fades).length;
}"""
WIDTH = "document.documentElement.scrollWidth"
CUT_OFF = """() => [...document.querySelectorAll("a, button, input, select")]
  .filter((node) => node.checkVisibility() && !node.matches(".skip"))
  .filter((node) => node.getBoundingClientRect().left < 0
    || node.getBoundingClientRect().right > innerWidth)
  .map((node) => node.outerHTML)"""

Screens = Callable[..., Iterator[tuple[str, Visitor]]]


@pytest.fixture
def screens(
    empty_shop: None,
    visit: Visit,
    new_session: NewSession,
    member: Callable[..., Client],
    admin: Client,
) -> Screens:
    """Opens every screen, with something on it, for a guest, a member and an admin."""

    def each(**options: Any) -> Iterator[tuple[str, Visitor]]:
        own = member()
        open_id = new_session(name=LONG_NAME)["session_id"]
        new_session(name="Lamp", start_time=tomorrow(18).isoformat())
        over_id = new_session(name="Gone")["session_id"]
        for session_id in (open_id, over_id):
            assert own.bid(session_id, 99_999_999.99).status == 200
        admin.put(f"/api/admin/sessions/{over_id}/close")
        assert wait_until(lambda: bool(own.get(UNREAD).json), RESULTS_TIMEOUT_SECONDS)
        shown = {"#/": ".card", f"#/session/{open_id}": "#board tbody td"}
        guests = shown | {"#/account": "main form", f"#/session/{over_id}": "#results li"}
        members = guests | {"#/account": "main dl", "#/news": "main > .news li"}
        admins = shown | {
            "#/admin": ".stats dd",
            "#/admin/sessions": ".rows li",
            "#/admin/sessions/new": "main form",
            f"#/admin/sessions/{open_id}": ".stats dd",
            f"#/admin/sessions/{over_id}": ".rows li",
            "#/admin/members": ".rows li",
            f"#/admin/members/{own.user_id}": ".stats dd",
            "#/admin/webhooks": "main h2",
            "#/admin/webhooks/new": "main form",
            "#/admin/emails": "main h1",
            "#/admin/actions": ".rows li",
            "#/admin/settings": ".stats dd",
            "#/admin/simulator": "main form",
        }
        for who, paths in ((None, guests), (own, members), (admin, admins)):
            visitor = visit(who, **options).go()
            for path, locator in paths.items():
                visitor.go(f"/{path}").page.locator(locator).first.wait_for()
                yield f"{who and who.user_id} {path}", visitor

    return each


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_screen_has_a_serious_violation(screens: Screens, scheme: str) -> None:
    found = {name: violations(visitor) for name, visitor in screens(color_scheme=scheme)}
    assert {name: said for name, said in found.items() if said} == {}


def test_control_axe_finds_an_input_without_a_name(visit: Visit) -> None:
    visitor = visit().go()
    visitor.page.evaluate("document.querySelector('main').append(document.createElement('input'))")
    [found] = violations(visitor)
    assert "label" in found


@pytest.mark.parametrize("viewport", [NARROW, ENLARGED])
def test_every_screen_fits_a_phone_and_an_enlarged_window(
    screens: Screens, viewport: dict[str, int]
) -> None:
    for name, visitor in screens(viewport=viewport):
        assert visitor.page.evaluate(WIDTH) <= viewport["width"], name
        assert visitor.page.evaluate(CUT_OFF) == [], name


def test_nothing_moves_for_those_who_do_not_want_it(screens: Screens) -> None:
    for name, visitor in screens(reduced_motion="reduce"):
        assert visitor.page.evaluate(MOVING) == 0, name


def test_control_something_moves_for_others(visit: Visit) -> None:
    assert visit(reduced_motion="no-preference").go().page.evaluate(MOVING) > 0


def test_list_as_a_screen_reader_reads_it(
    empty_shop: None, visit: Visit, new_session: NewSession, member: Callable[..., Client]
) -> None:
    new_session(name="Lamp", inventory=1)
    new_session(name="Vase", start_time=tomorrow(18).isoformat())
    page = visit(member(), locale="en-GB", timezone_id="Europe/Berlin").go().page
    expect(page.get_by_role("navigation", name="Main")).to_match_aria_snapshot("""
      - navigation "Main":
        - link "Sessions"
        - link "News"
        - link /member-.+/
        - button "Sign out"
    """)
    expect(page.get_by_role("main")).to_match_aria_snapshot("""
      - heading "Sessions" [level=1]
      - region "Open now":
        - heading "Open now" [level=2]
        - list:
          - listitem:
            - heading "Lamp" [level=3]:
              - link "Lamp"
            - paragraph: 1 item · starting price €100.00
            - paragraph: /\\d+:\\d+ left/
      - region "To come":
        - heading "To come" [level=2]
        - list:
          - listitem:
            - heading "Vase" [level=3]:
              - link "Vase"
            - paragraph: 3 items · starting price €100.00
            - paragraph: /Starts in .+/
            - paragraph:
              - time: Tomorrow 18:00
            - button "Remind me of Vase" [pressed=false]
    """)


def test_account_as_a_screen_reader_reads_it(visit: Visit, member: Callable[..., Client]) -> None:
    expect(visit().go("/#/account").page.get_by_role("main")).to_match_aria_snapshot("""
      - heading "Your account" [level=1]
      - heading "Sign in" [level=2]
      - form "Sign in":
        - text: Username
        - textbox "Username"
        - text: Password
        - textbox "Password"
        - button "Sign in"
      - heading "Sign up" [level=2]
      - form "Sign up":
        - text: Username
        - textbox "Username"
        - text: E-mail
        - textbox "E-mail"
        - text: Password
        - textbox "Password"
        - button "Sign up"
    """)
    expect(visit(member()).go("/#/account").page.get_by_role("main")).to_match_aria_snapshot("""
      - heading "Your account" [level=1]
      - region "Your account":
        - term: Username
        - definition: /member-.+/
        - term: E-mail
        - definition: /.+@example.com/
        - checkbox /Send me e-mails/
    """)
