"""The folder of PostgreSQL's socket where the data folder's path is too long for one."""

from pathlib import Path

import pytest

from dev.embedded import PostgresServer
from dev.errors import DevError


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> PostgresServer:
    monkeypatch.setenv("TMPDIR", str(tmp_path / "shared"))
    monkeypatch.setattr("tempfile.tempdir", None)
    (tmp_path / "shared").mkdir(mode=0o777)
    server = PostgresServer(tmp_path / ("long" * 30))
    assert server.socket_folder.parent == tmp_path / "shared"
    return server


def test_a_link_that_somebody_left_there_is_not_followed(
    server: PostgresServer, tmp_path: Path
) -> None:
    """Root would give the folder behind it to PostgreSQL's account."""
    (tmp_path / "ours").mkdir()
    before = (tmp_path / "ours").stat()
    server.socket_folder.symlink_to(tmp_path / "ours")
    with pytest.raises(DevError, match="belongs to another user"):
        server._make_owned(server.socket_folder)
    after = (tmp_path / "ours").stat()
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
