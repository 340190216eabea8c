"""What an outage's log line says of its cause, and what it leaves out."""

import psycopg2
import pytest
import sqlalchemy.exc
from redis import exceptions as redis_errors

from core import outages

REFUSED = """\
connection to server at "db.internal" (10.1.2.3), port 5432 failed: Connection refused
\tIs the server running on that host and accepting TCP/IP connections?
"""


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (REFUSED, "Connection refused"),
        (REFUSED + REFUSED.replace("10.1.2.3", "fe80::1"), "Connection refused"),
        (
            REFUSED + REFUSED.replace("Connection refused", "Connection timed out"),
            "Connection refused; Connection timed out",
        ),
        (
            'connection to server on socket "/run/pg/.s.PGSQL.5432" failed: No such file\n\tIs it?',
            "No such file",
        ),
        (
            'connection to server at "10.1.2.3", port 5432 failed: FATAL:  no role "shop"\n',
            'FATAL:  no role "shop"',
        ),
        (
            'connection to server at "db.internal", port 1 failed: FATAL:  too many clients\n',
            "FATAL:  too many clients",
        ),
        (
            'could not translate host name "db.internal" to address: Name or service not known\n',
            "could not translate host name to address: Name or service not known",
        ),
        ("server closed the connection unexpectedly\n\tThis probably means", "server closed the"),
        ("", "OperationalError"),
    ],
)
def test_a_reason_is_libpqs_without_the_host(text: str, reason: str) -> None:
    cause = psycopg2.OperationalError(text)
    for error in (cause, sqlalchemy.exc.OperationalError("SELECT secret", {"x": 1}, cause)):
        told = outages.reason_of(error)
        assert told.startswith(reason)
        assert not any(hidden in told for hidden in ("internal", "10.1.2.3", "secret", "/run/pg"))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("Error 111 connecting to redis.internal:6379. Connection refused.", "Error 111"),
        (
            "Error -2 connecting to redis.internal:6379. Name or service not known.",
            "Error -2 connecting. Name or service not known.",
        ),
        ("READONLY You can't write against a read only replica.", "READONLY"),
        ("Timeout connecting to server", "Timeout connecting to server"),
        ("", "ConnectionError"),
    ],
)
def test_a_reason_of_redis_has_no_host(text: str, reason: str) -> None:
    told = outages.reason_of(redis_errors.ConnectionError(text))
    assert told.startswith(reason)
    assert "internal" not in told


def test_a_full_pool_says_so() -> None:
    full = sqlalchemy.exc.TimeoutError("QueuePool limit of size 8 overflow 8 reached")
    assert outages.reason_of(full).startswith("QueuePool limit of size 8")
