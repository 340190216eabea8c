"""A pytest plugin: Python does not look through what lives as long as the run for garbage.

Modules and collected tests are a million objects. Each full collection would go through them
again, many times in each worker; it still goes through all that tests make, but not so often.
"""

import gc
from collections.abc import Generator

import pytest

# Objects made and kept before the next collection, and how many of the young there are for one of
# the older.
_THRESHOLDS = (10_000, 20, 10)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """What is imported and collected now stays."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()
        gc.freeze()
        gc.set_threshold(*_THRESHOLDS)
