"""The embedded PostgreSQL on checkouts and machines that are not like a developer's own."""

import os
import pwd
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from dev.embedded import PostgresServer, embedded_postgres, programs
from dev.errors import DevError
from tests.system.copies import ODD_NAME


@pytest.fixture
def folder() -> Iterator[Path]:
    # Not pytest's own: as root it is closed to the account that PostgreSQL runs as.
    with tempfile.TemporaryDirectory(prefix="flashbid-") as name:
        yield Path(name)


@pytest.fixture
def odd_package(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The wheel as installed under a umask of 077, in a folder whose name shells expand."""
    package = folder / ODD_NAME / programs.PACKAGE_PATH.name
    install = package / programs.INSTALL_PATH.name
    libraries = package.with_name(programs.LIBRARIES_PATH.name)
    for source, copy in ((programs.INSTALL_PATH, install), (programs.LIBRARIES_PATH, libraries)):
        shutil.copytree(source, copy, ignore=shutil.ignore_patterns("include"))
    for path in (folder / ODD_NAME).rglob("*"):
        path.chmod(path.stat().st_mode & 0o700)
    monkeypatch.setattr(programs, "PACKAGE_PATH", package)
    monkeypatch.setattr(programs, "INSTALL_PATH", install)
    monkeypatch.setattr(programs, "PROGRAMS_PATH", install / "bin")
    monkeypatch.setattr(programs, "LIBRARIES_PATH", libraries)
    return package


def test_it_runs_from_a_folder_that_only_its_owner_may_read_and_a_shell_expands(
    odd_package: Path, folder: Path
) -> None:
    with embedded_postgres(folder / ODD_NAME / "data") as settings:
        assert programs.is_plain(Path(settings["POSTGRES_HOST"]))


@pytest.mark.parametrize("temporary", ["/nowhere/" + "long" * 30, "/nowhere/a, b", "/nowhere/%s"])
@pytest.mark.parametrize("name", ["a" * 120, "a,b", 'a"b', "a b", "é"])
def test_the_socket_is_where_every_client_finds_it(
    folder: Path, monkeypatch: pytest.MonkeyPatch, name: str, temporary: str
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", temporary)
    path = PostgresServer(folder / name).socket_folder
    assert programs.is_plain(path)
    assert len(str(path / ".s.PGSQL.5432.lock")) <= 107


def test_a_user_without_a_name_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(key: object) -> None:
        raise KeyError(key)

    monkeypatch.setattr(pwd, "getpwnam", unknown)
    monkeypatch.setattr(pwd, "getpwuid", unknown)
    for user, named in ((0, "user 'nobody'"), (4711, "user 4711")):
        monkeypatch.setattr(os, "geteuid", lambda user=user: user)
        with pytest.raises(DevError, match=f"{named} is not in /etc/passwd"):
            programs.account()


@pytest.fixture
def server(folder: Path, monkeypatch: pytest.MonkeyPatch) -> PostgresServer:
    monkeypatch.setenv("TMPDIR", str(folder / "shared"))
    monkeypatch.setattr("tempfile.tempdir", None)
    (folder / "shared").mkdir(mode=0o777)
    server = PostgresServer(folder / ("long" * 30))
    assert server.socket_folder.parent == folder / "shared"
    return server


def test_a_link_that_somebody_left_there_is_not_followed(
    server: PostgresServer, folder: Path
) -> None:
    """Root would give the folder behind it to PostgreSQL's account."""
    (folder / "ours").mkdir()
    before = (folder / "ours").stat()
    server.socket_folder.symlink_to(folder / "ours")
    with pytest.raises(DevError, match="belongs to another user"):
        server._make_owned(server.socket_folder)
    after = (folder / "ours").stat()
    assert (after.st_uid, after.st_gid) == (before.st_uid, before.st_gid)


def test_a_folder_of_our_own_is_given_to_the_servers_account(server: PostgresServer) -> None:
    for _ in range(2):
        server._make_owned(server.socket_folder)
    found = server.socket_folder.stat()
    assert found.st_uid == server.account.pw_uid
    assert found.st_mode & 0o077 == 0


def test_a_folder_open_to_others_is_refused(server: PostgresServer) -> None:
    server.socket_folder.mkdir()
    server.socket_folder.chmod(0o777)
    with pytest.raises(DevError, match="belongs to another user"):
        server._make_owned(server.socket_folder)
