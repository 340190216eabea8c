"""What the web processes alone are told: origins and the access log."""

import re
from enum import StrEnum

from core.config.reader import ConfigError, SettingsReader

_ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://[A-Za-z0-9.-]+(:[0-9]{1,5})?")


class AccessLog(StrEnum):
    """Which answers get a line in the log."""

    # Every one.
    ALL = "all"
    # Bids and board pages only when they fail here or are slow: docs/operations.md.
    LEAN = "lean"
    OFF = "off"


def read_access_log(read: SettingsReader) -> AccessLog:
    try:
        return AccessLog(read.text("ACCESS_LOG", AccessLog.LEAN.value))
    except ValueError:
        raise ConfigError(f"ACCESS_LOG must be one of {', '.join(AccessLog)}.") from None


def read_cors_origins(read: SettingsReader) -> tuple[str, ...]:
    origins = tuple(read.text("CORS_ORIGINS", "").replace(",", " ").split())
    for origin in origins:
        # flask-cors would take one with a * in it for a regular expression.
        if origin != "*" and not _ORIGIN.fullmatch(origin):
            raise ConfigError(
                f"CORS_ORIGINS must be origins like https://shop.example, but one is {origin!r}."
            )
    return origins
