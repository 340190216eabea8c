"""Servers, a clean slate for each test, and the services under test.

With POSTGRES_HOST or REDIS_HOST set the suite uses those servers, else it starts its
own from wheels in a temporary folder. Either way it works in a database and in Redis
databases of its own, never in the ones the settings name. TEST_BROKER_URL names a broker
for the tests alone, such as a RabbitMQ, whose queues they empty.

Each worker of a parallel run has its own servers, or its own databases on the named ones
(tests/support/workers.py). A Redis server for each is named by TEST_REDIS_PORTS.
"""

import os
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path

import hypothesis
import pytest
from argon2 import PasswordHasher
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import create_engine, text

from core.bootstrap import Services, bootstrap
from core.config import Settings, load_settings
from core.postgres.migrating import migrate
from dev.embedded import embedded_postgres, embedded_redis
from tests.support.broker import Broker, broker_at
from tests.support.factories import Shop
from tests.support.garbage import pytest_collection
from tests.support.http.client import TEST_METRICS_TOKEN
from tests.support.order import (
    pytest_addoption,
    pytest_collection_modifyitems,
    pytest_xdist_make_scheduler,
)
from tests.support.quiet import pytest_runtest_makereport
from tests.support.tables import empty_tables
from tests.support.workers import cores, own_database, own_redis, workers_for
from web import create_app
from worker import celery_app

# What it is named by is a hook of pytest's.
__all__ = [
    "pytest_addoption",
    "pytest_collection",
    "pytest_collection_modifyitems",
    "pytest_runtest_makereport",
    "pytest_xdist_make_scheduler",
]

# A busy machine would miss Hypothesis's deadline.
hypothesis.settings.register_profile("without deadline", hypothesis.settings(), deadline=None)
hypothesis.settings.load_profile("without deadline")

TEST_DATABASE = own_database("flashbid_test")
TEST_JWT_SECRET = "a-secret-for-tests-only-of-more-than-32-bytes"
EMPTY_DATABASE = own_database("flashbid_test_empty")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """The number of workers for `-n auto`."""
    return cores() + 1 if config.option.without_servers else workers_for()


@pytest.fixture(scope="session")
def settings(request: pytest.FixtureRequest) -> Iterator[Settings]:
    """The settings of this run; also in the environment, for processes that tests start."""
    if request.config.option.without_servers:
        pytest.fail("A test that needs servers has asked for them late: see tests/support/order.py")
    with ExitStack() as servers:
        folder = Path(servers.enter_context(tempfile.TemporaryDirectory(prefix="flashbid-")))
        is_own = not os.environ.get("POSTGRES_HOST")
        if is_own:
            os.environ.update(servers.enter_context(embedded_postgres(folder / "postgres")))
        if not os.environ.get("REDIS_HOST"):
            os.environ.update(servers.enter_context(embedded_redis(folder / "redis")))
        os.environ |= {
            "CELERY_BROKER_URL": os.environ.get("TEST_BROKER_URL", ""),
            "DEBUG": "false",
            "JWT_SECRET": TEST_JWT_SECRET,
            "METRICS_TOKEN": TEST_METRICS_TOKEN,
            **own_redis(),
            "POSTGRES_DB": TEST_DATABASE,
            # A developer's .env must not make tests write to people.
            "SMTP_HOST": "",
            "WEBHOOK_URL": "",
            "IMAGE_HOSTS": "images.shop.example",
            "PUBLIC_URL": "",
            "METRICS_FOLDER": str(folder / "metrics"),
            "EXPORTS_FOLDER": str(folder / "exports"),
            # The machine may be busy; tests of overload set their own.
            "MAX_QUEUE_WAIT_MS": "20000",
            # One member sends all that is refused; tests of these limits set their own.
            "REFUSED_BIDS_PER_MINUTE": "0",
            "UNCACHED_PAGES_PER_MINUTE": "0",
        }
        _create_test_database(flushes=not is_own)
        settings = load_settings()
        # Celery keeps the broker of its first use, which may be a test's that changes addresses.
        assert celery_app.app.conf["broker_url"] == settings.broker_url
        yield settings


@pytest.fixture(scope="session")
def services(settings: Settings) -> Iterator[Services]:
    """The services over a migrated schema. Passwords are hashed cheaply, but really."""
    services = bootstrap(
        settings, password_hasher=PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
    )
    migrate(services.engine)
    yield services
    services.runtime.close()
    services.redis.close()
    services.engine.dispose()


@pytest.fixture(scope="session")
def broker(settings: Settings) -> Iterator[Broker]:
    """The broker, to look into its queues."""
    with closing(broker_at(settings.broker_url)) as broker:
        yield broker


@pytest.fixture(scope="session")
def app(services: Services) -> Flask:
    return create_app(services=services)


@pytest.fixture
def client(app: Flask, clean: None) -> FlaskClient:
    return app.test_client()


@pytest.fixture
def clean(services: Services, broker: Broker) -> None:
    """Empty tables, empty Redis, empty queues."""
    with services.engine.begin() as connection:
        empty_tables(connection)
    services.redis.flushdb()
    broker.clear()


@pytest.fixture
def shop(services: Services, clean: None) -> Shop:
    """An empty shop, with shortcuts for what tests set up again and again."""
    return Shop(services)


def _create_test_database(*, flushes: bool) -> None:
    """Make the suite's own database on the server, through the one that always exists.

    Where the server is ours too, it need not flush: tests kill processes, never the machine.
    """
    url = load_settings().database_url.set(database="postgres")
    engine = create_engine(url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        exists = connection.scalar(
            text("SELECT 1 FROM pg_database WHERE datname = :name"), {"name": TEST_DATABASE}
        )
        if not exists:
            connection.execute(text(f"CREATE DATABASE {TEST_DATABASE}"))
        if not flushes:
            connection.execute(text("ALTER SYSTEM SET fsync = off"))
            connection.execute(text("ALTER SYSTEM SET full_page_writes = off"))
            connection.execute(text("SELECT pg_reload_conf()"))
    engine.dispose()


@pytest.fixture
def empty_database(services: Services) -> Iterator[Settings]:
    """Settings of an empty database. A pooler's idle connections to it are cut off."""
    server = create_engine(services.engine.url, isolation_level="AUTOCOMMIT")
    with server.connect() as connection:
        connection.execute(text(f"DROP DATABASE IF EXISTS {EMPTY_DATABASE} WITH (FORCE)"))
        connection.execute(text(f"CREATE DATABASE {EMPTY_DATABASE}"))
        yield replace(services.settings, postgres_db=EMPTY_DATABASE)
        connection.execute(text(f"DROP DATABASE {EMPTY_DATABASE} WITH (FORCE)"))
    server.dispose()
