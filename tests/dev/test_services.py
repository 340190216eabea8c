"""What `make run` says of servers that it is given."""

import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from kombu.connection import Connection

from core.config import Settings, host_port, load_settings
from dev.embedded import embedded_redis
from dev.errors import DevError
from dev.services import check_broker, check_port_is_free, check_redis

SECRET = {"JWT_SECRET": "a-secret-for-tests-only-of-more-than-32-bytes"}


@pytest.fixture(scope="module")
def server() -> Iterator[dict[str, str]]:
    """A Redis with its usual 16 databases."""
    with (
        tempfile.TemporaryDirectory(prefix="flashbid-redis-") as name,
        embedded_redis(Path(name)) as settings,
    ):
        yield settings


def given(server: dict[str, str], **values: str) -> Settings:
    return load_settings({**server, **SECRET, **values})


def test_a_database_that_the_server_does_not_have_is_named(server: dict[str, str]) -> None:
    with pytest.raises(DevError, match=r"refuses database 16 \(DB index.*: correct REDIS_DB\.$"):
        check_redis(given(server, REDIS_DB="16"))
    last = given(server, REDIS_DB="15")
    check_redis(last)
    with pytest.raises(DevError, match=r"database 16 .*: choose a lower REDIS_DB, or set CELERY_"):
        check_broker(last, is_default=True)
    url = f"redis://127.0.0.1:{server['REDIS_PORT']}/99"
    with pytest.raises(DevError, match=r"database 99 .*: correct CELERY_BROKER_URL"):
        check_broker(given(server, CELERY_BROKER_URL=url), is_default=False)


def test_a_cluster_of_which_no_node_answers_is_said() -> None:
    nodes = {"REDIS_CLUSTER": "127.0.0.1:1,[::1]:1", "CELERY_BROKER_URL": "amqp://jobs"}
    with pytest.raises(DevError, match=r"Redis at \[::1\]:1 cannot be used .*REDIS_CLUSTER\.$"):
        check_redis(given(nodes))


def test_programs_take_an_ipv6_address_as_we_write_it() -> None:
    address = urlsplit(f"//{host_port('::1', 8000)}")
    assert (address.hostname, address.port) == ("::1", 8000)
    settings = given({"REDIS_HOST": "::1", "REDIS_PORT": "7000"})
    broker = Connection(settings.broker_url)  # type: ignore[no-untyped-call]
    assert (broker.hostname, broker.port, broker.virtual_host) == ("::1", 7000, "1")


def test_a_port_in_use_and_an_address_of_others_have_their_own_remedies() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(DevError, match="stop the program that uses it"):
            check_port_is_free("127.0.0.1", taken.getsockname()[1])
    for host in ("192.0.2.1", "a..b", "x" * 70):
        with pytest.raises(DevError, match="correct HOST"):
            check_port_is_free(host, 8000)
