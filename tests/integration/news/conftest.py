"""A mail server, as for the tests of e-mails."""

from tests.integration.notifications.conftest import mailbox, port

__all__ = ["mailbox", "port"]
