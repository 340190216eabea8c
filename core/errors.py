"""Every refusal by rule, as a typed error.

`web/guards/problems.py` maps each class to a status. The message is a sentence that a
member can act on.
"""

from collections.abc import Sequence
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
        """Additional fields of the answer."""
        return {}


class SessionNotFound(Refusal):
    detail = "No session has this id."

    def __init__(self, session_id: UUID | str | None = None) -> None:
        super().__init__(f"No session has the id {session_id}." if session_id else None)


class ProductNotFound(Refusal):
    detail = "No product has this id. Create one with POST /api/admin/products."


class NoBid(Refusal):
    detail = "You have no bid in this session yet. Place one with POST /api/bid."


class NotificationNotFound(Refusal):
    detail = "You have no notification with this id."


class DeliveryNotFound(Refusal):
    detail = "No webhook delivery has this id."


class EndpointNotFound(Refusal):
    detail = "No webhook endpoint has this id."


class EndpointBySetting(Refusal):
    detail = "WEBHOOK_URL and WEBHOOK_SECRET set this endpoint's address and secret."


class InvalidWebhookUrl(Refusal):
    detail = "Must be an https URL. Plain http needs WEBHOOK_ALLOWED_NETWORKS."

    @property
    def extra(self) -> dict[str, object]:
        return {"errors": {"url": [self.detail]}}


class InvalidImageUrl(Refusal):
    """A picture that is on none of the shop's image hosts. `origins`: where it may be."""

    def __init__(self, origins: Sequence[str] = ("https://images.shop.example",)) -> None:
        super().__init__(
            f"Must begin with {' or '.join(f'{origin}/' for origin in origins)}, in lower case and "
            "without port. The setting IMAGE_HOSTS lists these hosts."
            if origins
            else "This shop shows no pictures: the setting IMAGE_HOSTS lists no host."
        )

    @property
    def extra(self) -> dict[str, object]:
        return {"errors": {"image_url": [self.detail]}}


class OfferNotFound(Refusal):
    detail = "No such offer. See GET /api/offers for your own."


class OfferExpired(Refusal):
    detail = "This offer has expired for good. If money came in for it, refund it."


class OfferSettled(Refusal):
    """An offer that was ended in another way before."""

    def __init__(self, state: str = "settled") -> None:
        super().__init__(f"This offer is already {state}, which never changes.")


class ExportNotFound(Refusal):
    detail = "No export has this id. Exports are deleted after 7 days."


class ExportFileMissing(ExportNotFound):
    detail = (
        "The file of this export is not in this host's EXPORTS_FOLDER, which web and the exporter "
        "must share. Request a new export."
    )


class ExportNotReady(Refusal):
    detail = "This export is not finished yet. Try again in a few seconds."
    retry_after_seconds = 2


class BidsArchived(Refusal):
    detail = "This session's bids were archived into a file. Its results can be exported."


class ExportFailed(Refusal):
    detail = "This export failed."


class ResultsTooLarge(Refusal):
    def __init__(self, rows: int = 250_000, most: int = 10_000) -> None:
        super().__init__(
            f"These results have {rows:,} rows, more than the {most:,} of one response. An admin "
            "can request them as a file with POST /api/admin/sessions/{session_id}/exports."
        )


class SessionNotStarted(Refusal):
    detail = "This session has not started yet. See its start_time."


class SessionInactive(Refusal):
    detail = "The shop has paused this session; bids are not accepted right now."


class SessionEnded(Refusal):
    detail = "This session has ended. See GET /api/results/{session_id}."


class SessionCancelled(Refusal):
    detail = "The shop has cancelled this session. See its cancel_reason."


class SessionAlreadyStarted(Refusal):
    detail = (
        "This session has started, so its terms stand: only name, description and a later end "
        "can change."
    )


class VersionConflict(Refusal):
    """`version`: the current one."""

    def __init__(self, version: int) -> None:
        super().__init__(f"This has changed meanwhile: its version is {version}. Read it again.")
        self.version = version

    @property
    def extra(self) -> dict[str, object]:
        return {"version": self.version}


class SessionNotEnded(Refusal):
    detail = "This session has not ended yet. See its end_time."


class ResultsPending(Refusal):
    detail = "This session has ended; its results are being computed. Try again in a second."
    retry_after_seconds = 1


class PriceBelowUpset(Refusal):
    def __init__(self, upset_price: Decimal) -> None:
        super().__init__(f"Bids start at {upset_price}.")
        self.upset_price = upset_price

    @property
    def extra(self) -> dict[str, object]:
        return {"upset_price": float(self.upset_price)}


class PriceBelowStanding(Refusal):
    def __init__(self, standing_price: Decimal) -> None:
        super().__init__(
            f"Your bid of {standing_price} stands and can only be raised in this session."
        )
        self.standing_price = standing_price

    @property
    def extra(self) -> dict[str, object]:
        return {"standing_price": float(self.standing_price)}


class ScoreWouldDrop(Refusal):
    """A bid that was to be accepted only if it scores more than the standing one."""

    def __init__(self, score: float, standing_score: float) -> None:
        super().__init__(
            f"This price would score {score:.2f} now, and your standing bid has "
            f"{standing_score:.2f}. Your standing bid is unchanged."
        )
        self.score, self.standing_score = score, standing_score

    @property
    def extra(self) -> dict[str, object]:
        return {"score": self.score, "standing_score": self.standing_score}


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
    """Session terms that are valid one by one, but not together."""

    def __init__(self, field: str, detail: str) -> None:
        super().__init__(detail)
        self.field = field

    @property
    def extra(self) -> dict[str, object]:
        return {"errors": {self.field: [self.detail]}}


class WeakPassword(Refusal):
    """A new password that PASSWORD_MIN_LENGTH or PASSWORD_REFUSE_COMMON refuses."""

    @property
    def extra(self) -> dict[str, object]:
        return {"errors": {"password": [self.detail]}}


class UsernameTaken(Refusal):
    detail = "This username is taken. Choose another one."


class EmailTaken(Refusal):
    detail = "This e-mail address already has an account. Log in instead."


class InvalidCredentials(Refusal):
    """A failed login. `username` is the account's; None when there is no such account."""

    detail = "The username or the password is wrong."

    def __init__(self, username: str | None = None) -> None:
        super().__init__()
        self.username = username


class AccountNotFound(Refusal):
    detail = "No account has this name or id."

    def __init__(self, username: str | None = None) -> None:
        super().__init__(f"No account is named {username!r}." if username else None)


class OwnAccount(Refusal):
    detail = "You cannot disable your own account. Another admin can."


class AccountDisabled(Refusal):
    """`username` is set when it was a login that was refused."""

    detail = "The shop has disabled this account. Contact the shop if this is a mistake."

    def __init__(self, username: str | None = None) -> None:
        super().__init__()
        self.username = username


class TokenRevoked(Refusal):
    detail = "This token was logged out. Log in again."


class TokenExpired(Refusal):
    detail = "This token has expired. Log in again."


class TokenInvalid(Refusal):
    """`reason` is set when we did not issue it, and `claimed_id` when it names an account."""

    detail = "This token is not valid. Log in again."

    def __init__(
        self,
        reason: str | None = None,
        claimed_id: UUID | None = None,
        *,
        detail: str | None = None,
    ) -> None:
        super().__init__(detail)
        self.reason, self.claimed_id = reason, claimed_id


class AdminRequired(Refusal):
    detail = "Only an admin may do this."


class ScopeMissing(Refusal):
    """An API key may not do this: for lack of `scope`, or None: no key may."""

    def __init__(self, scope: str | None = None) -> None:
        super().__init__(
            f"This API key lacks the scope {scope}."
            if scope
            else "API keys may not do this. Log in, and send the login token."
        )
        self.scope = scope

    @property
    def extra(self) -> dict[str, object]:
        return {"scope": self.scope} if self.scope else {}


class IdempotencyKeyReused(Refusal):
    detail = "This Idempotency-Key was sent with another body. Use a new key for a new request."


class OutcomeUnknown(Refusal):
    """The reply to a bid was lost: Redis may have placed it or not."""

    detail = (
        "We do not know whether this bid was accepted. Send the same bid again: it counts only "
        "once, and the response says so. After the end, GET /api/leaderboard/{session_id}/me "
        "tells you."
    )
    retry_after_seconds = 2


class BidNotTaken(Refusal):
    """Redis is unreachable, or cannot write: out of memory, read-only, loading."""

    detail = "Bidding is unavailable right now. Your bid was not accepted; send it again soon."
    retry_after_seconds = 2


class BacklogFull(Refusal):
    detail = (
        "The bid queue is full; bidding is paused briefly. "
        "Your bid was not accepted; send it again soon."
    )
    retry_after_seconds = 5


class ServiceBusy(Refusal):
    """Too many others wait for the same expensive work. Nothing was done."""

    retry_after_seconds = 2


class TemporarilyUnavailable(Refusal):
    detail = "This is unavailable right now. Try again in a few seconds."
    retry_after_seconds = 2


class Unconfirmed(TemporarilyUnavailable):
    """Redis made the write, but too few replicas confirmed it in time."""

    detail = (
        "Your request was received but is not yet confirmed as stored. Send it again in a few "
        "seconds; repeating a bid is safe."
    )
