"""An admin in the console."""

from collections.abc import Callable

import pytest

from tests.browser.board import Visit
from tests.browser.console.boss import Boss
from tests.browser.test_screens import FAINT_TEXTS, LEAST_CONTRAST
from tests.support.http.client import Client

WIDTHS = {320: 640, 375: 812, 768: 1024, 1440: 900}
Fits = Callable[[Boss, str], None]


@pytest.fixture
def boss(visit: Visit, admin: Client) -> Boss:
    return Boss(visit, admin)


@pytest.fixture
def fits() -> Fits:
    """Checks that what is shown fits on all sizes, and can be read in both schemes."""

    def check(boss: Boss, name: str) -> None:
        for scheme in ("light", "dark"):
            boss.page.emulate_media(color_scheme=scheme)
            for width, height in WIDTHS.items():
                boss.page.set_viewport_size({"width": width, "height": height})
                widest = boss.page.evaluate("document.documentElement.scrollWidth")
                assert widest <= width, (name, width)
            assert boss.page.evaluate(FAINT_TEXTS, LEAST_CONTRAST) == [], (name, scheme)

    return check
