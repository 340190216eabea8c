"""A long file leaves in pieces: memory does not grow, and a slow reader holds no transaction."""

import os
import socket
from collections.abc import Iterator
from contextlib import ExitStack, closing
from uuid import UUID, uuid4

import psutil
import pytest

from core.orders.exports import FileFormat, Kind
from dev.stack import wait_until
from tests.api.conftest import CheckedClient
from tests.support.factories import Shop
from tests.support.http.client import TIMEOUT_SECONDS, Client
from tests.support.http.raw import connected, read_head, token_of
from tests.support.http.serving import serving
from web.front.bridge import OPERATOR_THREADS

FILE_BYTES = 300 * 1024 * 1024
MOST_GROWTH_BYTES = 32 * 1024 * 1024


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with serving() as port:
        yield port


@pytest.fixture
def export_id(shop: Shop) -> UUID:
    """An export whose file is long, and empty on the disk."""
    exports = shop.services.exports
    asked = exports.request(
        shop.session().session_id, Kind.BIDS, FileFormat.CSV, requested_by=uuid4()
    )
    exports.make(asked.export_id)
    os.truncate(exports.file(asked.export_id)[1], FILE_BYTES)
    return asked.export_id


def web_process(port: int) -> psutil.Process:
    """The process that serves: gunicorn's child, which listens like its parent."""
    listening = [
        child
        for child in psutil.Process().children(recursive=True)
        if any(each.laddr[1] == port for each in child.net_connections("tcp"))
    ]
    return max(listening, key=psutil.Process.create_time)


def begin(connection: socket.socket, export_id: UUID, admin: CheckedClient) -> bytes:
    connection.sendall(
        f"GET /api/admin/exports/{export_id}/file HTTP/1.1\r\nHost: shop\r\n"
        f"Authorization: Bearer {token_of(admin)}\r\n\r\n".encode()
    )
    return read_head(connection)


def read(connection: socket.socket, size_bytes: int) -> int:
    """Read so much, or to the end; how much it was."""
    left = size_bytes
    while left and (piece := connection.recv(min(left, 1 << 20))):
        left -= len(piece)
    return size_bytes - left


def test_a_long_file_takes_no_memory(
    shop: Shop, admin: CheckedClient, port: int, export_id: UUID
) -> None:
    web = web_process(port)
    before = web.memory_info().rss
    with connected(port) as connection:
        assert b"content-length: %d\r\n" % FILE_BYTES in begin(connection, export_id, admin)
        half = read(connection, FILE_BYTES // 2)
        growth = web.memory_info().rss - before
        assert half + read(connection, FILE_BYTES - half) == FILE_BYTES
        # The connection is kept.
        assert begin(connection, export_id, admin).startswith(b"HTTP/1.1 200 ")
    assert growth < MOST_GROWTH_BYTES


def test_slow_readers_hold_no_transaction_and_no_thread(
    shop: Shop, admin: CheckedClient, port: int, export_id: UUID
) -> None:
    web, path = web_process(port), str(shop.services.exports.file(export_id)[1])

    def readers() -> int:
        return sum(each.path == path for each in web.open_files())

    with ExitStack() as stack:
        for _ in range(2 * OPERATOR_THREADS):
            connection = stack.enter_context(connected(port))
            begin(connection, export_id, admin)
            assert read(connection, 100_000) == 100_000
        assert readers() == 2 * OPERATOR_THREADS
        in_transaction = (
            "SELECT count(*) FROM pg_stat_activity"
            " WHERE datname = current_database() AND state LIKE 'idle in %'"
        )
        assert shop.rows(in_transaction) == [(0,)]
        client = stack.enter_context(closing(Client(port, token_of(admin))))
        assert client.get(f"/api/admin/exports/{export_id}").status == 200
    assert wait_until(lambda: readers() == 0, TIMEOUT_SECONDS)


def test_a_file_that_ends_too_early_ends_the_connection(
    shop: Shop, admin: CheckedClient, port: int, export_id: UUID
) -> None:
    with connected(port) as connection:
        begin(connection, export_id, admin)
        os.truncate(shop.services.exports.file(export_id)[1], 1000)
        assert read(connection, FILE_BYTES) < FILE_BYTES
