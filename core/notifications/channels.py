"""The state of the e-mail and webhook channels, for admins."""

from collections.abc import Sequence
from dataclasses import dataclass

from core.notifications.email import Mailer
from core.notifications.outbox import DeliveryBacklog
from core.notifications.webhooks import Webhooks


@dataclass(frozen=True, slots=True)
class ChannelState:
    """Whether a channel is on, how many deliveries are waiting or were given up, and how many
    endpoints are disabled.
    """

    channel: str
    is_on: bool
    waiting: int
    given_up: int
    disabled_endpoints: int = 0


class Channels:
    """Reads the state of all channels."""

    def __init__(self, mailer: Mailer, webhooks: Webhooks) -> None:
        self._mailer = mailer
        self._webhooks = webhooks

    def read(self) -> Sequence[ChannelState]:
        """One entry per channel."""
        return [
            _state("email", self._mailer.is_on, self._mailer.backlog()),
            _state(
                "webhook",
                self._webhooks.is_on,
                self._webhooks.backlog(),
                self._webhooks.disabled_endpoints(),
            ),
        ]


def _state(
    channel: str, is_on: bool, backlog: DeliveryBacklog, disabled_endpoints: int = 0
) -> ChannelState:
    return ChannelState(channel, is_on, backlog.waiting, backlog.given_up, disabled_endpoints)
