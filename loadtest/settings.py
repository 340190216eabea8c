"""Addresses of PostgreSQL and Redis, for verifying the ledger.

Read from the environment, then `.env`, then `.data/running.env`, which `make run` writes while
its servers are up. Shares no code with the product, because it verifies the product.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from io import StringIO
from pathlib import Path

from dotenv import dotenv_values

from loadtest.errors import LoadTestError

PROJECT_ROOT = Path(__file__).resolve().parent.parent
DATA_PATH = PROJECT_ROOT / ".data"
LOOPBACK = "127.0.0.1"
ALL_INTERFACES = "0.0.0.0"  # noqa: S104 - compared, not bound
_LOOPBACKS = {ALL_INTERFACES: LOOPBACK, "::": "::1"}


@dataclass(frozen=True, slots=True)
class ServerAddresses:
    """Addresses of both servers, and how long Redis keeps an ended session."""

    postgres: dict[str, str]
    redis_host: str
    redis_port: int
    redis_db: int
    redis_password: str | None
    # Addresses of a cluster's nodes, as host:port; empty: the single Redis above.
    redis_cluster: tuple[str, ...]
    ended_keys_ttl_seconds: int


def gather() -> dict[str, str]:
    """Settings by name. Each server's settings all come from the first place that names its
    host, because settings mixed from two sources would reach neither server.
    """
    sources = [
        _non_empty(os.environ),
        _non_empty(_file_values(PROJECT_ROOT / ".env")),
        _non_empty(_file_values(DATA_PATH / "running.env")),
    ]
    values = {**sources[2], **sources[1], **sources[0]}
    for prefix in ("POSTGRES_", "REDIS_"):
        configured = {**sources[1], **sources[0]}
        chosen = configured if _names_server(configured, prefix) else sources[2]
        if _names_server(chosen, prefix):
            values = {k: v for k, v in values.items() if not k.startswith(prefix)}
            values |= {k: v for k, v in chosen.items() if k.startswith(prefix)}
    return values


def _file_values(path: Path) -> dict[str, str | None]:
    """Values by name. Those in single quotes are literal, which python-dotenv does not know."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError):
        raise LoadTestError(f"{path} cannot be read, or is not in UTF-8.") from None
    written = dotenv_values(stream=StringIO(text), interpolate=False)
    expanded = dotenv_values(stream=StringIO(text))
    return {
        name: value if f"'{value}'" in text else expanded[name] for name, value in written.items()
    }


def _names_server(values: Mapping[str, str], prefix: str) -> bool:
    return bool(values.get(f"{prefix}HOST") or values.get(f"{prefix}CLUSTER"))


def servers(values: Mapping[str, str] | None = None) -> ServerAddresses:
    """Both servers' addresses. Raises LoadTestError if a setting is malformed."""
    values = gather() if values is None else _non_empty(values)
    return ServerAddresses(
        postgres={
            "host": values.get("POSTGRES_HOST", "localhost"),
            "port": values.get("POSTGRES_PORT", "5432"),
            "user": values.get("POSTGRES_USER", "postgres"),
            "password": _secret(values, "POSTGRES_PASSWORD"),
            "dbname": values.get("POSTGRES_DB", "flashbid"),
        },
        redis_host=values.get("REDIS_HOST", "localhost"),
        redis_port=_integer(values, "REDIS_PORT", 6379),
        redis_db=_integer(values, "REDIS_DB", 0),
        redis_password=_secret(values, "REDIS_PASSWORD") or None,
        redis_cluster=tuple(values.get("REDIS_CLUSTER", "").replace(",", " ").split()),
        ended_keys_ttl_seconds=_integer(values, "ENDED_SESSION_KEYS_TTL_SECONDS", 3600),
    )


def address() -> str:
    """The URL of this project's API."""
    values = gather()
    host = values.get("HOST", ALL_INTERFACES).strip("[]")
    host = _LOOPBACKS.get(host, host)
    in_url = f"[{host}]" if ":" in host else host
    return f"http://{in_url}:{_integer(values, 'PORT', 8000)}"


def _non_empty(values: Mapping[str, str | None]) -> dict[str, str]:
    return {name: value for name, value in values.items() if value}


def _integer(values: Mapping[str, str], name: str, default: int) -> int:
    text = values.get(name, str(default))
    try:
        return int(text)
    except ValueError:
        raise LoadTestError(f"{name} must be a whole number, not {text!r}.") from None


def _secret(values: Mapping[str, str], name: str) -> str:
    path = values.get(f"{name}_FILE")
    if values.get(name) or not path:
        return values.get(name, "")
    try:
        return Path(path).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        raise LoadTestError(f"{name}_FILE names {path}, which cannot be read.") from None
