"""A mail server, and what the mailer logs."""

from collections.abc import Callable, Iterator

import pytest
from aiosmtpd.controller import Controller

from core.telemetry.logs import configure_logs
from dev.children import free_port
from tests.integration.notifications.mail import Mailbox
from tests.integration.notifications.receiving import Receiver, receiving


@pytest.fixture
def mailbox() -> Mailbox:
    return Mailbox()


@pytest.fixture
def port(mailbox: Mailbox) -> Iterator[int]:
    controller = Controller(mailbox, hostname="127.0.0.1", port=free_port())
    controller.start()
    yield controller.port
    controller.stop()


@pytest.fixture
def said(caplog: pytest.LogCaptureFixture) -> Callable[[], str]:
    """What the mailer has logged so far, whether or not an application was made before."""
    configure_logs(debug=False)

    def own_lines() -> str:
        return "\n".join(str(line.msg) for line in caplog.records if line.name.startswith("core"))

    return own_lines


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as found:
        yield found
