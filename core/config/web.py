"""Settings of the web processes only: origins and the access log."""

import re
from enum import StrEnum

from core.config.reader import ConfigError, SettingsReader

_ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://[A-Za-z0-9.-]+(:[0-9]{1,5})?")


class AccessLogMode(StrEnum):
    """Which answers are logged."""

    # Every answer.
    ALL = "all"
    # Bids and board pages only if they failed or were slow: docs/operations.md.
    LEAN = "lean"
    OFF = "off"


def read_access_log(read: SettingsReader) -> AccessLogMode:
    try:
        return AccessLogMode(read.text("ACCESS_LOG", AccessLogMode.LEAN.value))
    except ValueError:
        raise ConfigError(f"ACCESS_LOG must be one of {', '.join(AccessLogMode)}.") from None


def read_cors_origins(read: SettingsReader) -> tuple[str, ...]:
    origins = tuple(read.text("CORS_ORIGINS", "").replace(",", " ").split())
    for origin in origins:
        # flask-cors treats an origin that contains * as a regular expression.
        if origin != "*" and not _ORIGIN.fullmatch(origin):
            raise ConfigError(
                f"CORS_ORIGINS must be origins like https://shop.example, but one is {origin!r}."
            )
    return origins
