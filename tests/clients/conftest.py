"""The stack of the system tests."""

from tests.system.conftest import (
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

# Fixtures and a hook are found by their names here.
__all__ = [
    "admin",
    "client",
    "connect",
    "empty_shop",
    "member",
    "new_session",
    "pytest_runtest_makereport",
    "stack",
    "whole_stack",
]
