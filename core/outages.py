"""Errors of PostgreSQL and Redis that mean: the server is away, the request is not wrong."""

import psycopg2
import redis.exceptions
import sqlalchemy.exc

# What a retry can heal: the server is away, not the request wrong.
DATABASE: tuple[type[Exception], ...] = (
    sqlalchemy.exc.OperationalError,
    sqlalchemy.exc.InterfaceError,
    sqlalchemy.exc.TimeoutError,
    # COPY goes past SQLAlchemy, straight to the driver.
    psycopg2.OperationalError,
    psycopg2.InterfaceError,
)
# Not a ConnectionError to redis-py, but Redis cannot take the write all the same:
# out of memory, read-only, loading its file, disk trouble, cluster moving.
REDIS: tuple[type[Exception], ...] = (
    redis.exceptions.RedisError,
    # No RedisError to redis-py: no node of the cluster answers.
    redis.exceptions.RedisClusterException,
)
ALL = DATABASE + REDIS


class NothingSent(redis.exceptions.ConnectionError):
    """Redis cannot be reached: it was sent nothing, so it has done nothing."""
