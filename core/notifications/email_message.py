"""Composes the e-mail about a session's result or its cancellation. Pure: it sends nothing."""

import re
from dataclasses import replace
from datetime import datetime
from email.headerregistry import Address
from email.message import EmailMessage
from email.utils import format_datetime
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape

from core.notifications.inbox import OFFER_OPENED, Notice
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


class InvalidAddress(Exception):
    """The address is malformed. Raised without it: addresses must not be logged."""


def compose(
    notice: Notice, *, username: str, address: str, sender: Address, sent_at: datetime
) -> EmailMessage:
    """The message in plain text and HTML.

    Its headers contain no text that a member or an admin chose, and its text no name that mail
    programs would turn into a link. Its Message-ID derives from the notification, so that
    clients recognise a duplicate.
    """
    message = EmailMessage()
    message["From"] = sender
    message["To"] = _recipient(address)
    message["Subject"] = _subject(notice)
    message["Date"] = format_datetime(sent_at)
    message["Message-ID"] = f"<{notice.notification_id}@{sender.domain}>"
    # RFC 3834: suppresses automatic replies.
    message["Auto-Submitted"] = "auto-generated"
    words = {
        "notice": replace(
            notice,
            product_name=unlinked(notice.product_name),
            cancel_reason=unlinked(notice.cancel_reason or ""),
        ),
        "username": unlinked(username),
    }
    template = "session_cancelled" if notice.rank is None else "session_ended"
    message.set_content(_TEMPLATES.get_template(f"{template}.txt").render(words))
    html = _TEMPLATES.get_template(f"{template}.html").render(words)
    message.add_alternative(html, subtype="html")
    return message


def _subject(notice: Notice) -> str:
    if notice.kind == OFFER_OPENED:
        return "An item came free for you"
    if notice.rank is None:
        return "The sale was cancelled"
    return "You won" if notice.is_winner else "The sale has ended"


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
