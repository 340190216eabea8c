"""What the page costs a visitor. The figures are printed; no machine's speed is judged.

    make test-browser ARGS="-k figures -s"

FIGURE_SECONDS=60 watches a board for a minute rather than for three seconds.
"""

import os
import time
from collections.abc import Callable
from pathlib import Path

from playwright.sync_api import WebSocket, expect

from core.config import PROJECT_ROOT
from tests.browser.board import CONSOLE_LIMIT_BYTES, PAGE_LIMIT_BYTES, NewSession, Visit
from tests.support.http.client import Client

SECONDS = float(os.environ.get("FIGURE_SECONDS", "3"))
BID_PAUSE_MS = 50  # more bids than the five frames a second that show them
FILES = {".js", ".css", ".html", ".svg"}
PAINTED = """() => performance.getEntriesByName("first-contentful-paint")[0].startTime"""
RECEIVED = (
    """() => performance.getEntries().reduce((sum, entry) => sum + (entry.transferSize ?? 0), 0)"""
)
OBSERVE = """() => {
  window.longTasks = [];
  const note = (list) => window.longTasks.push(...list.getEntries().map((each) => each.duration));
  new PerformanceObserver(note).observe({ type: "longtask" });
}"""


def test_figures_of_a_first_visit(visit: Visit, new_session: NewSession) -> None:
    folder = PROJECT_ROOT / "web" / "static" / "board"
    files = {path for path in folder.rglob("*") if path.suffix in FILES}
    console = {path for path in files if path.is_relative_to(folder / "console")}
    size = _bytes_of(files - console)
    assert size <= PAGE_LIMIT_BYTES
    assert _bytes_of(console) <= CONSOLE_LIMIT_BYTES, "admins load it beside the members' page"
    new_session()
    page = visit().go().page
    page.locator(".card").first.wait_for()
    painted, received = page.evaluate(PAINTED), page.evaluate(RECEIVED)
    assert 0 < received <= size + PAGE_LIMIT_BYTES  # headers and the API's responses are small
    _print(
        f"files {size / 1024:.1f} KB, received {received / 1024:.1f} KB,"
        f" first contentful paint after {painted:.0f} ms"
    )


def _bytes_of(files: set[Path]) -> int:
    return sum(path.stat().st_size for path in files)


def test_figures_of_a_busy_board(
    visit: Visit, new_session: NewSession, member: Callable[..., Client]
) -> None:
    session_id = new_session(inventory=10, beta=0)["session_id"]
    bidders = [member() for _ in range(20)]
    frames: list[WebSocket] = []
    visitor = visit(bidders[0])
    visitor.page.on(
        "websocket", lambda socket: socket.on("framereceived", lambda _: frames.append(socket))
    )
    visitor.watch(session_id)
    expect(visitor.page.locator("#state")).to_have_text("Live")
    visitor.page.evaluate(OBSERVE)
    frames.clear()
    start, price = time.monotonic(), 100
    while (elapsed := time.monotonic() - start) < SECONDS:
        price += 1
        assert bidders[price % len(bidders)].bid(session_id, price).status == 200
        visitor.page.wait_for_timeout(BID_PAUSE_MS)
    long_tasks = sorted(visitor.page.evaluate("window.longTasks"))
    _print(
        f"{len(frames) / elapsed:.1f} frames a second for {elapsed:.0f} s,"
        f" {len(long_tasks)} tasks over 50 ms, the longest {max(long_tasks, default=0):.0f} ms"
    )
    assert frames
    expect(visitor.rows.first).to_contain_text(f"{price:,}.00")


def _print(text: str) -> None:
    print(text)  # noqa: T201 - reported
