"""Which tests a run has, and which of them begin.

A parallel run hands out modules in this order: a long one that came last would keep one
worker while the others have nothing to do. The rest are in chance's order, by pytest-randomly.
Folders whose tests share processes go to one worker, or each worker would start its own.
"""

import pytest
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

SHARING_FOLDERS = ("tests/system",)
# The longest first.
LONG_MODULES = (
    "tests/system/",
    "tests/model/test_auction.py",
    "tests/live/",
    "tests/api/commands/test_command_line.py",
    "tests/loadtest/traffic/test_generators.py",
    "tests/api/front/test_slow_clients.py",
    "tests/api/guards/test_fuzz.py",
)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--without-servers",
        action="store_true",
        help="only tests that need neither PostgreSQL nor Redis",
    )


class FolderScheduling(LoadScopeScheduling):
    """Hands out modules, and some folders as a whole."""

    def _split_scope(self, nodeid: str) -> str:
        module: str = super()._split_scope(nodeid)
        return next((each for each in SHARING_FOLDERS if module.startswith(f"{each}/")), module)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> LoadScopeScheduling:
    return FolderScheduling(config, log)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what needs a server, if that was asked for; put long modules first."""
    if config.option.without_servers:
        out = [item for item in items if needs_servers(item)]
        config.hook.pytest_deselected(items=out)
        items[:] = [item for item in items if not needs_servers(item)]
    items.sort(key=lambda item: turn(item.nodeid))


def needs_servers(item: pytest.Item) -> bool:
    """Whether one of its fixtures, or of theirs, starts the servers."""
    return "settings" in getattr(item, "fixturenames", ())


def turn(nodeid: str) -> int:
    """The place of a module: all that are not long share the last."""
    return next(
        (place for place, start in enumerate(LONG_MODULES) if nodeid.startswith(start)),
        len(LONG_MODULES),
    )
