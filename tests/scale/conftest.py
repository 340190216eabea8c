"""Servers and processes of their own for each test of this folder."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path

import pytest

from dev.bench.servers.stack import BenchServers, seed_members, servers
from dev.embedded import Cluster, embedded_cluster
from dev.stack import Stack
from loadtest.sale.members import read_tokens
from tests.scale.sale import Sale
from tests.support.leaks import assert_stack_quiet

MEMBERS = 120
MakeSale = Callable[..., tuple[Stack, Sale]]


@pytest.fixture
def running(tmp_path: Path) -> Iterator[BenchServers]:
    with servers(tmp_path) as running:
        yield running


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    with embedded_cluster(tmp_path / "cluster") as cluster:
        yield cluster


@pytest.fixture
def make_sale(running: BenchServers) -> Iterator[MakeSale]:
    """All processes under these settings, with open sessions and members about to bid."""
    with ExitStack() as stacks:

        def make(settings: Mapping[str, str], *, sessions: int) -> tuple[Stack, Sale]:
            stack = Stack(running.folder, {**running.environ, **settings})
            stacks.callback(assert_stack_quiet, stack)
            stacks.callback(stack.kill)
            stack.start()
            # The first account is the admin's.
            sale = Sale(stack.port, running.folder, sessions)
            sale.members = read_tokens(seed_members(running, MEMBERS), MEMBERS)
            return stack, sale

        yield make
