"""The sender's address and the mail server's host, checked before anything is sent."""

import re
from email import policy
from email.headerregistry import Address
from ipaddress import ip_address

from core.config.reader import ConfigError, SettingsReader

# RFC 5321, section 4.5.3.1.
_MAX_LOCAL_PART = 64
_MAX_ADDRESS = 254
_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_DOMAIN = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")


def read_sender(read: SettingsReader) -> Address:
    """The sender in SMTP_FROM, as the standard library's e-mail policy reads it."""
    text = read.text("SMTP_FROM", "").strip()
    if not text:
        raise ConfigError("SMTP_FROM must be the sender's address, as in sales@shop.example.")
    sender = _only_address(text)
    if sender is None:
        raise ConfigError(
            f"SMTP_FROM must be one address with or without a name, but is {text!r}. Write it as "
            "sales@shop.example or The Shop <sales@shop.example>; a name with a comma, a dot or "
            'another mark goes in quotes: "Shop, Inc." <sales@shop.example>.'
        )
    if not _DOMAIN.fullmatch(sender.domain) or not _is_plain(sender):
        raise ConfigError(
            f"SMTP_FROM must be an address of ASCII letters, but is {sender.addr_spec!r}. Write a "
            "domain of other letters in its ASCII form, which begins with xn--."
        )
    return sender


def _only_address(text: str) -> Address | None:
    """The one address in a `From` header; None if it is malformed or names several."""
    if not text.isprintable():
        return None
    # The parser raises many unrelated exceptions, and lists what it tolerated as defects.
    try:
        header = policy.SMTP.header_factory("From", text)
    except Exception:  # noqa: BLE001 - see above
        return None
    is_group = any(group.display_name for group in header.groups)
    return (
        header.addresses[0]
        if len(header.addresses) == 1 and not (header.defects or is_group)
        else None
    )


def _is_plain(sender: Address) -> bool:
    """Whether every mail server accepts it: no SMTPUTF8, and no longer than allowed."""
    local_part, address = sender.username, sender.addr_spec
    return (
        0 < len(local_part) <= _MAX_LOCAL_PART
        and len(address) <= _MAX_ADDRESS
        and address.isascii()
        and address.isprintable()
    )


def is_domain(text: str) -> bool:
    """Whether it is a host name in ASCII, without a dot at its end. An IPv4 address is one, too."""
    return _DOMAIN.fullmatch(text) is not None


def read_mail_host(read: SettingsReader) -> str:
    """A host name or an IP address; empty if the channel is off."""
    host = read.text("SMTP_HOST", "").strip()
    if host and not (_DOMAIN.fullmatch(host.rstrip(".")) or _is_ip(host)):
        raise ConfigError(
            f"SMTP_HOST must be a host name or an IP address, but is {host!r}. The port goes in "
            "SMTP_PORT, and whether the connection is encrypted in SMTP_TLS."
        )
    return host


def _is_ip(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True
