"""Composes the e-mail about a session's result. Pure: it sends nothing."""

from datetime import datetime
from email.headerregistry import Address
from email.message import EmailMessage
from email.utils import format_datetime, parseaddr
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape

from core.notifications.inbox import Notice

_TEMPLATES = Environment(
    loader=FileSystemLoader(Path(__file__).parent / "templates"),
    # Names of products and members may contain markup.
    autoescape=select_autoescape(["html"]),
    undefined=StrictUndefined,
    keep_trailing_newline=True,
)


class InvalidAddress(Exception):
    """The address is malformed. Raised without it: addresses must not be logged."""


def compose(
    notice: Notice, *, username: str, address: str, sender: str, sent_at: datetime
) -> EmailMessage:
    """The message in plain text and HTML.

    Its Message-ID derives from the notification, so that clients recognise a duplicate.
    """
    message = EmailMessage()
    message["From"] = sender
    message["To"] = _recipient(address)
    message["Subject"] = _subject(notice)
    message["Date"] = format_datetime(sent_at)
    message["Message-ID"] = message_id(notice, sender)
    # RFC 3834: suppresses automatic replies.
    message["Auto-Submitted"] = "auto-generated"
    words = {"notice": notice, "username": username}
    message.set_content(_TEMPLATES.get_template("session_ended.txt").render(words))
    html = _TEMPLATES.get_template("session_ended.html").render(words)
    message.add_alternative(html, subtype="html")
    return message


def message_id(notice: Notice, sender: str) -> str:
    """The same for every attempt to send a notification."""
    _, address = parseaddr(sender)
    return f"<{notice.notification_id}@{address.rpartition('@')[2]}>"


def _recipient(address: str) -> Address:
    # The parser raises many unrelated exception types.
    try:
        return Address(addr_spec=address)
    except Exception:  # noqa: BLE001 - see above
        raise InvalidAddress from None


def _subject(notice: Notice) -> str:
    # A header is one line; product names may contain some of Unicode's line breaks.
    product = " ".join(notice.product_name.split())
    return f"You won: {product}" if notice.is_winner else f"The sale has ended: {product}"
