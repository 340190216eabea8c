"""Composes the e-mail of a notification. Pure: it sends nothing."""

import re
from dataclasses import replace
from datetime import datetime
from email.headerregistry import Address
from email.message import EmailMessage
from email.utils import format_datetime
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape

from core.notifications.inbox import Notice, NotificationKind, utc
from core.rules.identity import deliverable

_TEMPLATES = Environment(
    loader=FileSystemLoader(Path(__file__).parent / "templates"),
    # Names of products and members may contain markup.
    autoescape=select_autoescape(["html"]),
    undefined=StrictUndefined,
    keep_trailing_newline=True,
)
# Dots, also those that are dots in host names only, colons and at signs, in front of more text
# that is not the rest of a number.
_LINKING = re.compile(r"[.\u3002\uff0e\uff61\u2024:\uff1a@\uff20](?!\s|$)(?!(?<=\d.)\d)")

_SUBJECTS: dict[str, str] = {
    NotificationKind.SESSION_CANCELLED: "The sale was cancelled",
    NotificationKind.OFFER_OPENED: "An item came free for you",
    NotificationKind.OFFER_ENDED: "Your offer has ended",
    NotificationKind.OUTBID: "You were outbid",
    NotificationKind.STARTING: "A sale starts soon",
}
# Come by e-mail only to members who have switched that on.
_AT_WILL = (NotificationKind.OUTBID, NotificationKind.STARTING)


class InvalidAddress(Exception):
    """The address is malformed. Raised without it: addresses must not be logged."""


def compose(
    notice: Notice,
    *,
    username: str,
    address: str,
    sender: Address,
    sent_at: datetime,
    public_url: str = "",
) -> EmailMessage:
    """The message in plain text and HTML.

    Its headers contain no text that a member or an admin chose, and its text no name that mail
    programs would turn into a link; its own links lead to `public_url`, if that is given. Its
    Message-ID derives from the notification, so that clients recognise a duplicate.
    """
    message = EmailMessage()
    message["From"] = sender
    message["To"] = _recipient(address)
    message["Subject"] = _subject(notice)
    message["Date"] = format_datetime(sent_at)
    message["Message-ID"] = _message_id(notice, sender)
    # RFC 3834: suppresses automatic replies.
    message["Auto-Submitted"] = "auto-generated"
    words = {
        "notice": replace(
            notice,
            product_name=unlinked(notice.product_name or ""),
            cancel_reason=unlinked(notice.cancel_reason or ""),
        ),
        "username": unlinked(username),
        "next_step": _next_step(notice),
        "is_at_will": notice.kind in _AT_WILL,
        "session_url": f"{public_url}/#/session/{notice.session_id}" if public_url else "",
        "account_url": f"{public_url}/#/account" if public_url else "",
    }
    message.set_content(_TEMPLATES.get_template("notice.txt").render(words))
    html = _TEMPLATES.get_template("notice.html").render(words)
    message.add_alternative(html, subtype="html")
    return message


def _message_id(notice: Notice, sender: Address) -> str:
    """One that becomes new again is another message each time."""
    is_renewed = notice.kind == NotificationKind.OUTBID
    edition = f".{int(notice.created_at.timestamp() * 1_000_000)}" if is_renewed else ""
    return f"<{notice.notification_id}{edition}@{sender.domain}>"


def _subject(notice: Notice) -> str:
    if notice.kind == NotificationKind.SESSION_ENDED:
        return "You won" if notice.is_winner else "The sale has ended"
    return _SUBJECTS[notice.kind]


def _next_step(notice: Notice) -> str:
    """What the member can do now, in a sentence."""
    if notice.pay_by is not None:
        return f"Pay {notice.price_to_pay} {notice.currency} by {utc(notice.pay_by)}."
    if notice.kind == NotificationKind.OUTBID:
        return f"Bid again before {utc(notice.end_time)}."
    if notice.kind == NotificationKind.STARTING:
        return f"Be there at {notice.starts_at}."
    return "See how the sale ended."


def unlinked(name: str) -> str:
    """A name on one line, with a space after each mark that could make it a link.

    `evil.example` becomes `evil. example`; numbers such as 2.0 and 10:30 stay. Invisible
    characters, which could hide such a mark, are left out.
    """
    visible = "".join(
        character for character in name if character.isprintable() or character.isspace()
    )
    return _LINKING.sub(r"\g<0> ", " ".join(visible.split()))


def _recipient(address: str) -> Address:
    # The parser raises many unrelated exception types.
    try:
        return Address(addr_spec=deliverable(address))
    except Exception:  # noqa: BLE001 - see above
        raise InvalidAddress from None
