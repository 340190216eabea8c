"""Metrics are published in a folder of this user's own alone."""

import os
import stat
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from core.telemetry.metric_files import COMMAND, PublishedMetrics, Publisher, require_usable
from core.telemetry.private_folder import NotPrivate, make_private

REGISTRY = CollectorRegistry()


@pytest.fixture
def of_another(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A folder that another user made."""
    folder = tmp_path / "theirs"
    folder.mkdir(mode=0o700)
    us = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: us + 1)
    return folder


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_it_is_made_closed_to_others_with_all_above_it(tmp_path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        make_private(tmp_path / "run" / "metrics")
    finally:
        os.umask(before)
    assert mode_of(tmp_path / "run") == mode_of(tmp_path / "run" / "metrics") == 0o700


def test_making_it_again_changes_nothing(tmp_path: Path) -> None:
    make_private(tmp_path / "run")
    make_private(tmp_path / "run")


def test_one_of_another_user_is_refused_with_the_cure(of_another: Path) -> None:
    with pytest.raises(NotPrivate, match=r"belongs to user \d+.*RUNTIME_FOLDER"):
        make_private(of_another)


@pytest.mark.parametrize("mode", [0o777, 0o770, 0o1777])
def test_one_that_others_may_write_to_is_refused(tmp_path: Path, mode: int) -> None:
    folder = tmp_path / "open"
    folder.mkdir()
    folder.chmod(mode)
    with pytest.raises(NotPrivate, match="chmod 700"):
        make_private(folder)


def test_a_link_to_one_is_refused(tmp_path: Path) -> None:
    make_private(tmp_path / "real")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    with pytest.raises(NotPrivate, match="not a folder"):
        make_private(tmp_path / "link")


def test_a_service_does_not_start_on_one_of_another(of_another: Path) -> None:
    with pytest.raises(NotPrivate):
        require_usable(str(of_another))


def test_a_service_starts_where_none_can_be_made(tmp_path: Path) -> None:
    """Metrics are not worth a sale: it logs that it publishes none."""
    (tmp_path / "file").touch()
    require_usable(str(tmp_path / "file" / "metrics"))


def test_a_command_makes_no_folder(tmp_path: Path) -> None:
    """The first command on a machine is often root's, and the services run as another user."""
    publish(tmp_path / "run" / "metrics", COMMAND)
    assert not (tmp_path / "run").exists()


def test_a_command_writes_nothing_into_one_of_another(of_another: Path) -> None:
    publish(of_another, COMMAND)
    assert list(of_another.iterdir()) == []


@pytest.mark.parametrize("role", ["web", COMMAND])
def test_what_is_published_there_is_found(tmp_path: Path, role: str) -> None:
    make_private(tmp_path / "run")
    publish(tmp_path / "run", role)
    shown = {metric.name for metric in PublishedMetrics(str(tmp_path / "run")).collect()}
    assert shown == {"flashbid_processes"}
    assert len(list((tmp_path / "run").iterdir())) == 1


def publish(folder: Path, role: str) -> None:
    publisher = Publisher(REGISTRY, str(folder), role)
    publisher.start()
    publisher.stop()
