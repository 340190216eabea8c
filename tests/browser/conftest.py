"""Chromium, headless, one fresh profile per visitor, on the stack of the system tests."""

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Playwright, sync_playwright

from core.config import PROJECT_ROOT
from dev.stack import Stack
from tests.browser.visitor import PICTURES, Visitor
from tests.support.http.client import Client
from tests.system.conftest import (  # noqa: F401 - fixtures are found by their names here
    admin,
    client,
    connect,
    empty_shop,
    member,
    new_session,
    pytest_runtest_makereport,
    stack,
    whole_stack,
)

PICTURE = PROJECT_ROOT / "web" / "static" / "board" / "icon.svg"
SCREENSHOTS = PROJECT_ROOT / "artifacts" / "screenshots"
ARGUMENTS = [
    "--no-sandbox",  # Chromium refuses its sandbox to root, and CI is root
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@pytest.fixture(scope="session")
def playwright() -> Iterator[Playwright]:
    with sync_playwright() as running:
        yield running


@pytest.fixture(scope="session")
def chromium() -> str:
    """The program. A machine without one is told so; nothing is skipped."""
    found = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
    if not found:
        pytest.fail("No Chromium found: install it (apt-get install chromium) or set CHROMIUM.")
    return found


@pytest.fixture(scope="session")
def browser(playwright: Playwright, chromium: str) -> Iterator[Browser]:
    browser = playwright.chromium.launch(executable_path=chromium, args=ARGUMENTS)
    yield browser
    browser.close()


@pytest.fixture
def visit(browser: Browser, stack: Stack) -> Iterator[Callable[..., Visitor]]:  # noqa: F811
    """Opens the page for a visitor with storage of their own, and checks it at the end."""
    opened: list[Visitor] = []
    with ExitStack() as visitors:

        def open_page(client: Client | None = None, **options: Any) -> Visitor:
            context = browser.new_context(**options)
            visitors.callback(context.close)
            context.route(f"{PICTURES}**", lambda route: route.fulfill(path=PICTURE))
            opened.append(Visitor(context.new_page(), stack.port, client))
            return opened[-1]

        yield open_page
        for visitor in opened:
            visitor.check()


@pytest.fixture
def shot() -> Callable[[Visitor, str], Path]:
    """Keeps a picture of the whole page for people."""
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)

    def take(visitor: Visitor, name: str) -> Path:
        path = SCREENSHOTS / f"{name}.png"
        visitor.page.screenshot(path=path, full_page=True)
        return path

    return take
