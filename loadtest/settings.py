"""Where PostgreSQL and Redis are, for the check of the ledger.

The environment first, then `.env`, then `.data/running.env`, which `make run` writes
while its own servers are up. This file does not share the product's code on purpose: the
check must not stand on what it checks.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from dotenv import dotenv_values

from loadtest.errors import LoadTestError

PROJECT_ROOT = Path(__file__).resolve().parent.parent
DATA_PATH = PROJECT_ROOT / ".data"
LOOPBACK = "127.0.0.1"
EVERYWHERE = "0.0.0.0"  # noqa: S104 - compared, not bound


@dataclass(frozen=True, slots=True)
class Servers:
    """How to reach both servers, and how long Redis keeps an ended session."""

    postgres: dict[str, str]
    redis_host: str
    redis_port: int
    redis_db: int
    redis_password: str | None
    # Addresses of a cluster's nodes, as host:port; empty: the one Redis above.
    redis_cluster: tuple[str, ...]
    ended_keys_ttl_seconds: int


def gather() -> dict[str, str]:
    """Settings by name. Half a server's settings from one place and half from another
    would reach neither, so the first place that names a host speaks for that server.
    """
    places = [
        _filled(os.environ),
        _filled(dotenv_values(PROJECT_ROOT / ".env")),
        _filled(dotenv_values(DATA_PATH / "running.env")),
    ]
    values = {**places[2], **places[1], **places[0]}
    for prefix in ("POSTGRES_", "REDIS_"):
        configured = {**places[1], **places[0]}
        chosen = configured if _names_server(configured, prefix) else places[2]
        if _names_server(chosen, prefix):
            values = {k: v for k, v in values.items() if not k.startswith(prefix)}
            values |= {k: v for k, v in chosen.items() if k.startswith(prefix)}
    return values


def _names_server(values: Mapping[str, str], prefix: str) -> bool:
    return bool(values.get(f"{prefix}HOST") or values.get(f"{prefix}CLUSTER"))


def servers(values: Mapping[str, str] | None = None) -> Servers:
    """Both servers' addresses. Raises LoadTestError when one is malformed."""
    values = gather() if values is None else _filled(values)
    return Servers(
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
    """Where the API of this project listens."""
    values = gather()
    host = values.get("HOST", EVERYWHERE)
    return f"http://{LOOPBACK if host == EVERYWHERE else host}:{_integer(values, 'PORT', 8000)}"


def _filled(values: Mapping[str, str | None]) -> dict[str, str]:
    return {name: value for name, value in values.items() if value}


def _integer(values: Mapping[str, str], name: str, default: int) -> int:
    text = values.get(name, str(default))
    try:
        return int(text)
    except ValueError:
        raise LoadTestError(f"{name} must be a whole number, but it is {text!r}.") from None


def _secret(values: Mapping[str, str], name: str) -> str:
    path = values.get(f"{name}_FILE")
    if values.get(name) or not path:
        return values.get(name, "")
    try:
        return Path(path).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        raise LoadTestError(f"{name}_FILE names {path}, which cannot be read.") from None
