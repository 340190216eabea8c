"""Errors of PostgreSQL and Redis caused by an outage, not by the request."""

import psycopg2
import redis.exceptions
import sqlalchemy.exc

# A retry may succeed.
DATABASE: tuple[type[Exception], ...] = (
    sqlalchemy.exc.OperationalError,
    sqlalchemy.exc.InterfaceError,
    sqlalchemy.exc.TimeoutError,
    # COPY calls the driver directly, bypassing SQLAlchemy.
    psycopg2.OperationalError,
    psycopg2.InterfaceError,
)
# Wider than ConnectionError: a reachable Redis may still be unable to write (out of memory,
# read-only, loading, disk errors, a slot that is moving).
REDIS: tuple[type[Exception], ...] = (
    redis.exceptions.RedisError,
    # Not a RedisError in redis-py: no node of the cluster answers.
    redis.exceptions.RedisClusterException,
)
ALL = DATABASE + REDIS


class NothingSent(redis.exceptions.ConnectionError):
    """Redis is unreachable: no command was sent, so none was executed."""
