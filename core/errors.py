"""Everything the rules can refuse, in the field's words.

Each class is one answer a caller can get; `web/guards/problems.py` maps it to a status.
The message is a sentence that a member can act on.
"""

from decimal import Decimal
from uuid import UUID


class Refusal(Exception):
    """A request that the rules refuse. `detail` is shown to the caller."""

    detail = "The request was refused."
    # When trying again makes sense; None when it does not.
    retry_after_seconds: int | None = None

    def __init__(self, detail: str | None = None) -> None:
        super().__init__(detail or self.detail)
        self.detail = detail or self.detail

    @property
    def extra(self) -> dict[str, object]:
        """Further fields for the answer."""
        return {}


class SessionNotFound(Refusal):
    detail = "There is no session with this id."

    def __init__(self, session_id: UUID | str | None = None) -> None:
        super().__init__(f"There is no session {session_id}." if session_id else None)


class ProductNotFound(Refusal):
    detail = "There is no product with this id. Create one with POST /api/admin/products."


class NoBid(Refusal):
    detail = "You have no bid in this session yet. Place one with POST /api/bid."


class NotificationNotFound(Refusal):
    detail = "You have no notification with this id."


class DeliveryNotFound(Refusal):
    detail = "There is no webhook delivery with this id."


class SessionNotStarted(Refusal):
    detail = "This session has not started yet. Its start_time says when it does."


class SessionInactive(Refusal):
    detail = "This session is paused by the shop and takes no bids at the moment."


class SessionEnded(Refusal):
    detail = "This session has ended. See GET /api/results/{session_id}."


class SessionNotEnded(Refusal):
    detail = "This session has not ended yet. Its end_time says when it does."


class ResultsPending(Refusal):
    detail = "This session has ended and its results are being computed. Ask again in a second."
    retry_after_seconds = 1


class PriceBelowUpset(Refusal):
    def __init__(self, upset_price: Decimal) -> None:
        super().__init__(f"The lowest admissible price in this session is {upset_price}.")
        self.upset_price = upset_price

    @property
    def extra(self) -> dict[str, object]:
        return {"upset_price": float(self.upset_price)}


class RateLimited(Refusal):
    retry_after_seconds = 1

    def __init__(self, retry_after_seconds: int) -> None:
        unit = "second" if retry_after_seconds == 1 else "seconds"
        super().__init__(
            f"You are bidding too fast. Try again in {retry_after_seconds} {unit}; "
            "your standing bid is unchanged."
        )
        self.retry_after_seconds = retry_after_seconds


class InvalidTerms(Refusal):
    """Session terms that are each valid but make no session together."""

    def __init__(self, field: str, detail: str) -> None:
        super().__init__(detail)
        self.field = field

    @property
    def extra(self) -> dict[str, object]:
        return {"errors": {self.field: [self.detail]}}


class UsernameTaken(Refusal):
    detail = "This username is taken. Choose another one."


class EmailTaken(Refusal):
    detail = "An account with this e-mail address exists already. Log in instead."


class InvalidCredentials(Refusal):
    detail = "The username or the password is wrong."


class AccountNotFound(Refusal):
    detail = "There is no account of this name."


class AccountDisabled(Refusal):
    detail = "This account was disabled by the shop. Write to the shop if that is a mistake."


class TokenRevoked(Refusal):
    detail = "This token was logged out. Log in again."


class TokenInvalid(Refusal):
    detail = "This token is not valid here. Log in again."


class AdminRequired(Refusal):
    detail = "Only an admin may do this."


class OutcomeUnknown(Refusal):
    """The reply to a bid was lost: Redis may have placed it or not."""

    detail = (
        "It is not known whether this bid was accepted. Send the same bid again: it counts "
        "once, and the answer tells. GET /api/leaderboard/{session_id}/me tells it, too, and "
        "after the end alone."
    )
    retry_after_seconds = 2


class BidNotTaken(Refusal):
    """Redis could not be reached, or cannot write: out of memory, read-only, loading."""

    detail = "Bids cannot be taken at the moment. This one was not accepted; send it again soon."
    retry_after_seconds = 2


class BacklogFull(Refusal):
    detail = (
        "More bids wait to be stored than there is room for, so none is taken for the moment. "
        "This one was not accepted; send it again soon."
    )
    retry_after_seconds = 5


class TemporarilyUnavailable(Refusal):
    detail = "The service cannot do this at the moment. Try again in a few seconds."
    retry_after_seconds = 2


class Unconfirmed(TemporarilyUnavailable):
    """Redis took the write, and its replicas did not confirm in time that they have it too."""

    detail = (
        "The service took this, but cannot be sure yet to keep it. Send it again in a few "
        "seconds: repeating a bid is safe."
    )
