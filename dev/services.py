"""Checks that the configured servers can be used; errors are one sentence."""

import socket
from contextlib import closing
from urllib.parse import urlsplit

import psycopg2
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from core.config import Settings
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
    where = f"PostgreSQL at {settings.postgres_host}:{settings.postgres_port}"
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
    client = redis.Redis(
        settings.redis_host,
        settings.redis_port,
        settings.redis_db,
        settings.redis_password or None,
        socket_connect_timeout=ANSWER_TIMEOUT_SECONDS,
        socket_timeout=ANSWER_TIMEOUT_SECONDS,
        retry=Retry(NoBackoff(), 0),
    )
    where = f"Redis at {settings.redis_host}:{settings.redis_port}"
    _ping(client, where, "REDIS", "or leave REDIS_HOST empty to use the embedded server")


def check_broker(settings: Settings) -> None:
    """Check a Redis broker; for other brokers Celery reports errors."""
    url = urlsplit(settings.broker_url)
    if url.scheme not in {"redis", "rediss"}:
        return
    client = redis.Redis.from_url(
        settings.broker_url,
        socket_connect_timeout=ANSWER_TIMEOUT_SECONDS,
        socket_timeout=ANSWER_TIMEOUT_SECONDS,
        retry=Retry(NoBackoff(), 0),
    )
    where = f"The Celery broker at {url.hostname}:{url.port or 6379}"
    _ping(client, where, "CELERY_BROKER_URL", "or leave it empty to use the bids' own Redis")


def _ping(client: redis.Redis, where: str, setting: str, otherwise: str) -> None:
    names = f"{setting}_HOST and {setting}_PORT" if setting == "REDIS" else setting
    try:
        with closing(client):
            client.ping()
    except (redis.AuthenticationError, redis.exceptions.NoPermissionError):
        password = f"{setting}_PASSWORD" if setting == "REDIS" else setting
        raise DevError(f"{where} rejects the password: check {password}.") from None
    except redis.RedisError as error:
        raise DevError(
            f"{where} cannot be used ({error}): start it, correct {names}, {otherwise}."
        ) from None


def check_port_is_free(host: str, port: int) -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise DevError(
                f"The web server cannot listen on {host}:{port} ({error.strerror}): stop the "
                "program that uses it, or choose another port: PORT=8001 make run"
            ) from None
