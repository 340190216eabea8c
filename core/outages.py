"""Errors of PostgreSQL and Redis caused by an outage, not by the request."""

import re

import psycopg2
import psycopg2.errors
import redis.exceptions
import sqlalchemy.exc

# psycopg2 calls these InternalError, like errors of our own (25P02: a statement after a failed
# one); `core/postgres/database.py` makes SQLAlchemy's OperationalError of them.
UNABLE: tuple[type[Exception], ...] = (
    # On a standby, in recovery, or with writes switched off.
    psycopg2.errors.ReadOnlySqlTransaction,
    # The server has ended the transaction, and the connection with it.
    psycopg2.errors.IdleInTransactionSessionTimeout,
    psycopg2.errors.lookup("25P04"),
    # Its own errors, and corrupt data.
    *map(psycopg2.errors.lookup, ("XX000", "XX001", "XX002")),
)
# A retry may succeed.
DATABASE: tuple[type[Exception], ...] = (
    sqlalchemy.exc.OperationalError,
    sqlalchemy.exc.InterfaceError,
    sqlalchemy.exc.TimeoutError,
    # COPY calls the driver directly, bypassing SQLAlchemy.
    psycopg2.OperationalError,
    psycopg2.InterfaceError,
    *UNABLE,
)
# Wider than ConnectionError: a reachable Redis may still be unable to write (out of memory,
# read-only, loading, disk errors, a slot that is moving).
REDIS: tuple[type[Exception], ...] = (
    redis.exceptions.RedisError,
    # Not a RedisError in redis-py: no node of the cluster answers.
    redis.exceptions.RedisClusterException,
)
ALL = DATABASE + REDIS

# libpq names the host, once for each address that it tried.
_CONNECTING = re.compile(r"connection to server (?:at|on socket) \".*? failed: ([^\n]*)")
_HOST = re.compile(r"(?<=host name )\"[^\"]*\" |(?<=connecting) to \S+:\d+(?=\.)")


class NothingSent(redis.exceptions.ConnectionError):
    """Redis is unreachable: no command was sent, so none was executed."""


def reason_of(outage: BaseException) -> str:
    """Why a server did not do its work, in its own words: SQLSTATE and message, or the client's
    text. Without hosts, SQL and values; only for the classes of ALL.
    """
    cause = getattr(outage, "orig", None) or outage
    if isinstance(cause, psycopg2.Error) and cause.pgcode:
        return f"{cause.pgcode} {cause.diag.message_primary}"
    text = str(cause.args[0]) if cause.args else ""
    reasons = dict.fromkeys(_CONNECTING.findall(text)) or text.strip().splitlines()[:1]
    return _HOST.sub("", "; ".join(reasons)) or type(cause).__name__
