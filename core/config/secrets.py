"""The configured secrets, for the logs to hide."""

from base64 import b64encode
from collections.abc import Iterator
from urllib.parse import parse_qsl, unquote, urlsplit

from core.config.channels import MailSettings, WebhookSettings
from core.config.settings import Settings

# Hiding shorter ones would make every log unreadable, and they protect nothing.
_SHORTEST = 4
# A path segment as long as this may be a token, as in the addresses of chat services.
_SHORTEST_PATH_TOKEN = 16
_TELLING_NAMES = ("pass", "secret", "token", "key")


def secrets_of(settings: Settings) -> frozenset[str]:
    """Every secret in the settings, and the parts of URLs that are secret."""
    found = [
        settings.jwt_secret,
        settings.jwt_secret_previous,
        settings.metrics_token,
        settings.postgres_password,
        settings.redis_password,
        *_of_server(settings.broker_url),
        *_of_server(settings.limits.storage_url),
        *_of_mail(settings.mail),
        *_of_webhook(settings.webhook),
    ]
    return frozenset(secret for secret in found if len(secret) >= _SHORTEST)


def _of_server(url: str) -> Iterator[str]:
    """The password in a server's URL, as written and decoded, and secrets in its query."""
    parts = urlsplit(url)
    password = parts.netloc.rpartition("@")[0].partition(":")[2]
    yield from (password, unquote(password))
    for name, value in parse_qsl(parts.query):
        if any(word in name.lower() for word in _TELLING_NAMES):
            yield value


def _of_mail(mail: MailSettings | None) -> Iterator[str]:
    """The password, also as a login sends it."""
    if mail and mail.password:
        yield mail.password
        for login in (mail.password, f"\0{mail.user}\0{mail.password}"):
            yield b64encode(login.encode()).decode().rstrip("=")


def _of_webhook(webhook: WebhookSettings | None) -> Iterator[str]:
    """The key, and all of the URL that may contain a token."""
    if webhook is None:
        return
    yield b64encode(webhook.key).decode().rstrip("=")
    parts = urlsplit(webhook.url)
    yield webhook.url
    if parts.query:
        yield f"{parts.path}?{parts.query}"
        yield parts.query
        yield from (value for _, value in parse_qsl(parts.query))
    for segment in parts.path.split("/"):
        if len(segment) >= _SHORTEST_PATH_TOKEN:
            yield from (segment, unquote(segment))
