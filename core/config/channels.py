"""Settings of the e-mail and webhook channels. Their `repr` shows no secret."""

from base64 import b64decode
from dataclasses import dataclass, field
from email.headerregistry import Address
from enum import StrEnum
from ipaddress import ip_address, ip_network
from urllib.parse import urlsplit

from core.config.addresses import read_mail_host, read_sender
from core.config.reader import ConfigError, SettingsReader
from core.rules.destinations import Destinations

WEBHOOK_SECRET_PREFIX = "whsec_"  # noqa: S105 - a prefix, not a secret
# As Standard Webhooks requires.
WEBHOOK_KEY_BYTES = range(24, 65)

_HOW_TO_MAKE_A_SECRET = (
    "Make one with: python3 -c 'import base64, os; "
    f'print("{WEBHOOK_SECRET_PREFIX}" + base64.b64encode(os.urandom(32)).decode())\''
)


class Tls(StrEnum):
    """How the connection to the mail server is encrypted."""

    STARTTLS = "starttls"
    TLS = "tls"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class MailSettings:
    """A mail server. With an empty user there is no login."""

    host: str
    port: int
    user: str
    password: str = field(repr=False)
    sender: Address
    tls: Tls


@dataclass(frozen=True, slots=True)
class WebhookSettings:
    """The shop's endpoint and the key that signs messages to it."""

    url: str = field(repr=False)
    key: bytes = field(repr=False)


def is_loopback(host: str) -> bool:
    """Whether traffic to this host stays on the machine."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def is_webhook_url(url: str, *, plain_allowed: bool) -> bool:
    """Whether messages may be posted to it: https; plain http to this machine or if allowed."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname or "", parts.port
    except ValueError:
        return False
    if not host or "@" in parts.netloc or not url.isascii() or not url.isprintable() or " " in url:
        return False
    if parts.scheme == "http":
        return plain_allowed or is_loopback(host)
    return parts.scheme == "https"


def webhook_key(secret: str) -> bytes:
    """The key in a Standard Webhooks secret. Raises ValueError if it is malformed."""
    if not secret.startswith(WEBHOOK_SECRET_PREFIX):
        raise ValueError("no prefix")
    key = b64decode(secret.removeprefix(WEBHOOK_SECRET_PREFIX), validate=True)
    if len(key) not in WEBHOOK_KEY_BYTES:
        raise ValueError("too short or too long")
    return key


def read_mail(read: SettingsReader, debug: bool) -> MailSettings | None:
    """The mail server; None without SMTP_HOST."""
    host = read_mail_host(read)
    port = read.integer("SMTP_PORT", 587, low=1, high=65535)
    user, password = read.text("SMTP_USER", ""), read.secret("SMTP_PASSWORD", "")
    tls = _tls(read)
    if not host:
        read.text("SMTP_FROM", "")
        return None
    sender = read_sender(read)
    if user and not (tls is not Tls.NONE or is_loopback(host) or debug):
        raise ConfigError(
            "SMTP_TLS must be starttls or tls: otherwise the password is sent unencrypted."
        )
    return MailSettings(host, port, user, password, sender, tls)


def _tls(read: SettingsReader) -> Tls:
    try:
        return Tls(read.text("SMTP_TLS", Tls.STARTTLS.value))
    except ValueError:
        raise ConfigError(f"SMTP_TLS must be one of {', '.join(Tls)}.") from None


def read_webhook(read: SettingsReader, debug: bool) -> WebhookSettings | None:
    """Error messages show neither the URL, which may contain a token, nor the secret."""
    url, secret = read.text("WEBHOOK_URL", ""), read.secret("WEBHOOK_SECRET", "")
    if not url:
        return None
    if not is_webhook_url(url, plain_allowed=debug):
        raise ConfigError(
            "WEBHOOK_URL must be an https URL; http is allowed to this machine or with DEBUG."
        )
    try:
        return WebhookSettings(url, webhook_key(secret))
    except ValueError:
        raise ConfigError(
            f"WEBHOOK_SECRET must be whsec_ and 24 to 64 bytes in base64. {_HOW_TO_MAKE_A_SECRET}"
        ) from None


def read_destinations(read: SettingsReader, debug: bool) -> Destinations:
    """Where endpoints that admins add may be. While developing also on this machine."""
    listed = read.text("WEBHOOK_ALLOWED_NETWORKS", "127.0.0.0/8,::1/128" if debug else "")
    try:
        return Destinations(tuple(ip_network(part.strip()) for part in listed.split(",") if part))
    except ValueError:
        raise ConfigError(
            "WEBHOOK_ALLOWED_NETWORKS must be networks like 10.1.0.0/16, separated by commas."
        ) from None
