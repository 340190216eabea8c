"""Settings of the web processes: origins, the access log, and the folders they read from."""

import re
from enum import StrEnum
from ipaddress import ip_address
from pathlib import Path

from core.config.addresses import is_domain
from core.config.channels import is_loopback
from core.config.reader import ConfigError, SettingsReader, is_ipv6
from core.rules.images import ImageHosts

_ORIGIN = re.compile(
    r"[a-z][a-z0-9+.-]*://(?:[a-z0-9.-]+|\[(?P<ipv6>[0-9a-f:.]+)])(?::[0-9]{1,5})?"
)


class AccessLogMode(StrEnum):
    """Which answers are logged."""

    # Every answer.
    ALL = "all"
    # Bids and board pages only if they failed or were slow: docs/how-to/operations.md.
    LEAN = "lean"
    OFF = "off"


def read_access_log(read: SettingsReader) -> AccessLogMode:
    try:
        return AccessLogMode(read.text("ACCESS_LOG", AccessLogMode.LEAN.value))
    except ValueError:
        raise ConfigError(f"ACCESS_LOG must be one of {', '.join(AccessLogMode)}.") from None


def reach_of(host: str) -> str:
    """From where clients can connect to a server that listens on `host`, for the log."""
    if is_loopback(host):
        return "this machine only; set HOST to let others connect"
    try:
        is_any = ip_address(host).is_unspecified
    except ValueError:
        is_any = False
    return "all networks of this machine" if is_any else "the network of this address"


def read_metrics_folder(read: SettingsReader, port: int, default_parent: Path) -> str:
    """Below RUNTIME_FOLDER, apart for each port: several installations may share a host."""
    parent = read.text("RUNTIME_FOLDER", str(default_parent))
    if not Path(parent).is_absolute():
        raise ConfigError("RUNTIME_FOLDER must be an absolute path: processes start anywhere.")
    return read.text("METRICS_FOLDER", f"{parent}/metrics-{port}")


def read_exports_folder(read: SettingsReader, default: Path) -> str:
    folder = read.text("EXPORTS_FOLDER", str(default))
    if not Path(folder).is_absolute():
        raise ConfigError("EXPORTS_FOLDER must be an absolute path: processes start anywhere.")
    return folder


def read_cors_origins(read: SettingsReader) -> tuple[str, ...]:
    # Browsers send origins in lower case.
    origins = tuple(read.text("CORS_ORIGINS", "").lower().replace(",", " ").split())
    for origin in origins:
        if origin != "*" and not _is_origin(origin):
            raise ConfigError(
                f"CORS_ORIGINS must be origins like https://shop.example, but one is {origin!r}."
            )
    return origins


def read_public_url(read: SettingsReader) -> str:
    url = read.text("PUBLIC_URL", "").strip().lower().rstrip("/")
    if url and not (url.startswith(("https://", "http://")) and _is_origin(url)):
        raise ConfigError(
            "PUBLIC_URL must be where members find the page, like https://sale.shop.example, "
            f"but is {url!r}."
        )
    return url


def read_image_hosts(read: SettingsReader) -> ImageHosts:
    # Browsers compare hosts in lower case.
    names = tuple(read.text("IMAGE_HOSTS", "").lower().replace(",", " ").split())
    for name in names:
        if not is_domain(name):
            raise ConfigError(
                "IMAGE_HOSTS must be host names like images.shop.example, separated by commas, "
                f"but one is {name!r}. It takes no scheme, port, path or *; write other letters "
                "in their ASCII form, which begins with xn--."
            )
    return ImageHosts(names)


def _is_origin(text: str) -> bool:
    match = _ORIGIN.fullmatch(text)
    # flask-cors treats an origin that contains * as a regular expression.
    return match is not None and (match["ipv6"] is None or is_ipv6(match["ipv6"]))
