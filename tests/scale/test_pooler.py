"""Behind PgBouncer, and over TCP, a vanished host is missed as soon as without it."""

import os
import socket
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from sqlalchemy import Engine, text

from core import outages
from core.config import load_settings
from core.postgres.database import create_database_engine
from core.postgres.migrating import set_session_defaults
from dev.bench.servers.stack import BenchServers
from dev.engines import pgbouncer

LOCK = text("SELECT pg_advisory_xact_lock(1)")
IMPATIENT = {"idle_in_transaction_session_timeout": "1s", "lock_timeout": "30s"}


@contextmanager
def engine_at(environ: Mapping[str, str]) -> Iterator[Engine]:
    engine = create_database_engine(load_settings(environ))
    yield engine
    engine.dispose()


@contextmanager
def pooled(running: BenchServers, folder: Path) -> Iterator[Engine]:
    with pgbouncer(folder / "pgbouncer", running.environ) as environ, engine_at(environ) as engine:
        yield engine


def test_what_the_release_set_is_in_force(running: BenchServers, tmp_path: Path) -> None:
    with pooled(running, tmp_path) as engine, engine.begin() as connection:
        assert connection.scalar(text("SHOW idle_in_transaction_session_timeout")) == "1min"


def test_a_silent_transaction_is_ended_and_told_as_an_outage(
    running: BenchServers, tmp_path: Path
) -> None:
    with running.services.engine.begin() as connection:
        set_session_defaults(connection, IMPATIENT)
    with pooled(running, tmp_path) as engine:
        told = pytest.raises(outages.DATABASE, match="closed the connection")
        with told, engine.begin() as silent:
            silent.execute(LOCK)
            with engine.begin() as connection:
                connection.execute(LOCK)


def test_a_connection_misses_its_server_within_half_a_minute(
    running: BenchServers, tmp_path: Path
) -> None:
    with pooled(running, tmp_path) as engine, engine.connect() as connection:
        descriptor = os.dup(connection.connection.fileno())
        with closing(socket.socket(fileno=descriptor)) as wire:
            assert wire.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
            silence, interval, count, unanswered_ms = (
                wire.getsockopt(socket.IPPROTO_TCP, option)
                for option in (
                    socket.TCP_KEEPIDLE,
                    socket.TCP_KEEPINTVL,
                    socket.TCP_KEEPCNT,
                    socket.TCP_USER_TIMEOUT,
                )
            )
    assert silence + interval * count <= 30
    assert 0 < unanswered_ms <= 30_000
