"""Checks that the configured servers can be used; errors are one sentence."""

import errno
import socket
from collections.abc import Iterator
from contextlib import closing
from typing import Any
from urllib.parse import urlsplit

import psycopg2
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from core.config import Settings, host_port
from dev.errors import DevError

ANSWER_TIMEOUT_SECONDS = 5


def check_postgres(settings: Settings) -> None:
    """Connect once, as the application will."""
    try:
        psycopg2.connect(
            host=settings.postgres_host,
            port=settings.postgres_port,
            user=settings.postgres_user,
            password=settings.postgres_password or None,
            dbname=settings.postgres_db,
            connect_timeout=ANSWER_TIMEOUT_SECONDS,
        ).close()
    except psycopg2.OperationalError as error:
        raise DevError(_postgres_sentence(settings, str(error))) from None


def _postgres_sentence(settings: Settings, reason: str) -> str:
    where = f"PostgreSQL at {host_port(settings.postgres_host, settings.postgres_port)}"
    user, database = settings.postgres_user, settings.postgres_db
    if "password" in reason or "authentication" in reason:
        return f"{where} rejects {user!r}: check POSTGRES_USER and POSTGRES_PASSWORD."
    if f'database "{database}"' in reason:
        return f"{where} has no database {database!r}: create it, or correct POSTGRES_DB."
    if f'role "{user}"' in reason:
        return f"{where} has no user {user!r}: correct POSTGRES_USER."
    cause = reason.strip().splitlines()[0].rpartition(": ")[2]
    return (
        f"{where} cannot be reached ({cause}): start it, correct POSTGRES_HOST and "
        "POSTGRES_PORT, or leave POSTGRES_HOST empty to use the embedded server."
    )


def check_redis(settings: Settings) -> None:
    """Ask the server, or one node of the cluster. `release` says how well it keeps bids."""
    for number, (host, port) in enumerate(_redis_servers(settings), start=1):
        client = redis.Redis(
            host, port, settings.redis_db, settings.redis_password or None, **_options()
        )
        try:
            with closing(client):
                client.ping()
        except redis.RedisError as error:
            if number >= len(settings.redis_cluster):
                raise DevError(_redis_sentence(settings, host_port(host, port), error)) from None
        else:
            break


def _redis_servers(settings: Settings) -> Iterator[tuple[str, int]]:
    yield from settings.redis_cluster or ((settings.redis_host, settings.redis_port),)


def _redis_sentence(settings: Settings, address: str, error: redis.RedisError) -> str:
    where = f"Redis at {address}"
    if _is_login_error(error):
        return f"{where} rejects the password: check REDIS_PASSWORD."
    if isinstance(error, redis.ResponseError):
        return f"{where} refuses database {settings.redis_db} ({error}): correct REDIS_DB."
    if settings.redis_cluster:
        return f"{where} cannot be used ({error}): start the cluster, or correct REDIS_CLUSTER."
    return (
        f"{where} cannot be used ({error}): start it, correct REDIS_HOST and REDIS_PORT, or leave "
        "REDIS_HOST empty to use the embedded server."
    )


def check_broker(settings: Settings, *, is_default: bool) -> None:
    """Check a Redis broker; for other brokers Celery reports errors.

    `is_default`: it is the database after the bids', because no setting says otherwise.
    """
    url = urlsplit(settings.broker_url)
    if url.scheme not in {"redis", "rediss"}:
        return
    where = f"The Celery broker at {host_port(url.hostname or 'localhost', url.port or 6379)}"
    try:
        with closing(redis.Redis.from_url(settings.broker_url, **_options())) as client:
            client.ping()
    except redis.RedisError as error:
        raise DevError(_broker_sentence(where, url.path.strip("/"), error, is_default)) from None


def _broker_sentence(where: str, database: str, error: redis.RedisError, is_default: bool) -> str:
    if _is_login_error(error):
        return f"{where} rejects the password: check CELERY_BROKER_URL."
    if not isinstance(error, redis.ResponseError):
        return (
            f"{where} cannot be used ({error}): start it, correct CELERY_BROKER_URL, or leave it "
            "empty to use the bids' own Redis."
        )
    if is_default:
        return (
            f"{where} refuses database {database} ({error}), which is the one after REDIS_DB: "
            "choose a lower REDIS_DB, or set CELERY_BROKER_URL."
        )
    return f"{where} refuses database {database} ({error}): correct CELERY_BROKER_URL."


def _is_login_error(error: redis.RedisError) -> bool:
    kinds = (redis.AuthenticationError, redis.exceptions.NoPermissionError)
    return isinstance(error, kinds) or str(error).startswith("NOAUTH")


def _options() -> dict[str, Any]:
    return {
        "socket_connect_timeout": ANSWER_TIMEOUT_SECONDS,
        "socket_timeout": ANSWER_TIMEOUT_SECONDS,
        "retry": Retry(NoBackoff(), 0),
    }


def check_port_is_free(host: str, port: int) -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except (OSError, UnicodeError) as error:
            raise DevError(_port_sentence(host_port(host, port), error)) from None


def _port_sentence(address: str, error: OSError | UnicodeError) -> str:
    number, reason = getattr(error, "errno", None), getattr(error, "strerror", "not a host name")
    sentence = f"The web server cannot listen on {address} ({reason}): "
    if number == errno.EADDRINUSE:
        return (
            f"{sentence}stop the program that uses it, or choose another port: PORT=8001 make run"
        )
    if number == errno.EACCES:
        return f"{sentence}choose a port above 1023: PORT=8001 make run"
    return f"{sentence}correct HOST, an address of this machine."
