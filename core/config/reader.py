"""Typed values from the environment's text. A malformed value stops the start with a sentence."""

import re
from collections.abc import Callable, Mapping
from ipaddress import ip_address
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")
_HOST = re.compile(r"[\w.-]+")


def host_port(host: str, port: int) -> str:
    """Both as in a URL: an IPv6 address is in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def is_ipv6(text: str) -> bool:
    """Whether it is an IPv6 address, without brackets."""
    try:
        return ip_address(text).version == 6  # noqa: PLR2004 - the protocol's own number
    except ValueError:
        return False


class ConfigError(Exception):
    """A setting is missing or malformed. The message is for the operator."""


class SettingsReader:
    """Reads typed values from a mapping and records the names it has read."""

    def __init__(self, values: Mapping[str, str]) -> None:
        self._values = values
        self.names: list[str] = []

    def text(self, name: str, default: str) -> str:
        self.names.append(name)
        value = self._values.get(name) or default
        # Bytes of the environment that are no UTF-8 could not be sent or compared later.
        if not value.isascii() and any("\ud800" <= char <= "\udfff" for char in value):
            raise ConfigError(f"{name} must be text in UTF-8.")
        return value

    def host(self, name: str, default: str, *, also: str = "") -> str:
        """A host name or an IP address; an IPv6 address with or without brackets.

        `also`: a regular expression of what else is accepted.
        """
        text = self.text(name, default).strip()
        bare = text[1:-1] if text.startswith("[") and text.endswith("]") else text
        if is_ipv6(bare):
            return bare
        if text and not (_HOST.fullmatch(text) or (also and re.fullmatch(also, text))):
            raise ConfigError(
                f"{name} must be a host name or an IP address, without port, but is {text!r}."
            )
        return text

    def secret(self, name: str, default: str) -> str:
        """A secret, or the content of the file in NAME_FILE, as containers mount secrets."""
        path = self.text(f"{name}_FILE", "")
        value = self.text(name, "")
        if value or not path:
            return value or default
        try:
            return Path(path).read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "it is not text"
            raise ConfigError(f"{name}_FILE: cannot read {path}: {reason}.") from None

    def integer(self, name: str, default: int, *, low: int, high: int) -> int:
        number = self._parsed(name, str(default), int, "a whole number")
        return self._within(name, number, low, high)

    def number(self, name: str, default: float, *, low: float, high: float) -> float:
        number = self._parsed(name, str(default), float, "a number")
        return self._within(name, number, low, high)

    def flag(self, name: str, default: bool) -> bool:
        words = {"true": True, "1": True, "yes": True, "on": True}
        words |= {"false": False, "0": False, "no": False, "off": False}
        return self._parsed(
            name, str(default), lambda text: words[text.strip().lower()], "true or false"
        )

    def _parsed(self, name: str, default: str, parse: Callable[[str], T], wanted: str) -> T:
        text = self.text(name, default)
        try:
            return parse(text)
        except (ValueError, KeyError):
            raise ConfigError(f"{name} must be {wanted}, but is {text!r}.") from None

    @staticmethod
    def _within(name: str, number: T, low: float, high: float) -> T:
        if not low <= number <= high:  # type: ignore[operator]
            raise ConfigError(f"{name} must be between {low} and {high}, but is {number}.")
        return number
