"""A pytest plugin: no test may leave a secret in what was logged in this process.

Child processes' logs are searched by whoever starts them (tests/support/leaks.py). What pytest
keeps of
records before they are formatted ("Captured log") is no log, and not searched.
"""

from collections.abc import Generator

import pytest

from tests.support.factories import PASSWORD
from tests.support.leaks import leaks_in


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Fail a test after its end, when all it wrote is known."""
    report = yield
    if report.when == "teardown" and report.passed:
        said = report.capstdout + report.capstderr
        found = leaks_in(said) | ({"a member's password"} if PASSWORD in said else set())
        if found:
            report.outcome = "failed"
            report.longrepr = f"{item.nodeid} wrote to the log: {', '.join(sorted(found))}"
    return report
