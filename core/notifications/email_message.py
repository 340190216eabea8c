"""The e-mail that tells a member how a session ended. Pure: nothing is sent here."""

from datetime import datetime
from email.headerregistry import Address
from email.message import EmailMessage
from email.utils import format_datetime, parseaddr
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape

from core.notifications.inbox import Notice

_TEMPLATES = Environment(
    loader=FileSystemLoader(Path(__file__).parent / "templates"),
    # Names of products and members are shown as text, whatever stands in them.
    autoescape=select_autoescape(["html"]),
    undefined=StrictUndefined,
    keep_trailing_newline=True,
)


class BadAddress(Exception):
    """No message can be sent to this address. Raised without it: it must not be logged."""


def compose(
    notice: Notice, *, username: str, address: str, sender: str, sent_at: datetime
) -> EmailMessage:
    """The message in plain text and HTML.

    Its Message-ID comes from the notification: should it be sent twice, both are known
    to be one.
    """
    message = EmailMessage()
    message["From"] = sender
    message["To"] = _recipient(address)
    message["Subject"] = _subject(notice)
    message["Date"] = format_datetime(sent_at)
    message["Message-ID"] = message_id(notice, sender)
    # RFC 3834: no automatic reply, please.
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
    # Its parser raises a kind of its own for each thing that can be wrong.
    try:
        return Address(addr_spec=address)
    except Exception:  # noqa: BLE001 - see above
        raise BadAddress from None


def _subject(notice: Notice) -> str:
    # A header is one line, and Unicode knows more line breaks than a product's name may hold.
    product = " ".join(notice.product_name.split())
    return f"You won: {product}" if notice.is_winner else f"The sale has ended: {product}"
