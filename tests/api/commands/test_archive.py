"""The archive command: what it shows, and what it answers to mistakes."""

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from flask import Flask
from sqlalchemy import text

from core.operations.archiving import Archiving
from core.sessions.sessions import SessionView
from tests.support.factories import Shop
from tests.support.settling import settle


def archive(app: Flask, *arguments: str) -> Result:
    with app.app_context():
        return app.test_cli_runner().invoke(args=["archive", *arguments])


def ended(shop: Shop) -> SessionView:
    session = shop.session()
    shop.bid(shop.bidder(), session, "120")
    shop.close(session)
    return session


def stored(shop: Shop) -> int:
    [(count,)] = shop.rows("SELECT count(*) FROM bids")
    return int(count)


def outcomes(shop: Shop) -> list[tuple[Any, ...]]:
    return shop.rows("SELECT outcome, details->>'archived' FROM admin_actions")


def test_settled_sessions_are_archived_and_others_say_why_not(
    app: Flask, shop: Shop, tmp_path: Path
) -> None:
    old, new = ended(shop), ended(shop)
    settle(shop, old)
    shown = archive(app, "--older-than", "0d", "--to", str(tmp_path / "new"), "--dry-run")
    assert (shown.exit_code, list(tmp_path.iterdir()), stored(shop)) == (0, [], 2)
    assert f"✓ {old.session_id}         1 bids  would be archived" in shown.output
    done = archive(app, "--older-than", "0d", "--to", str(tmp_path / "new"))
    [file] = (tmp_path / "new").iterdir()
    assert f"✓ {old.session_id}         1 bids  {file}" in done.output
    assert f"? {new.session_id}         1 bids  skipped: its results are not compl" in done.output
    assert done.output.endswith("1 session archived.\n")
    assert (done.exit_code, stored(shop), outcomes(shop)) == (0, 1, [("done", "1")])


def test_nothing_old_enough_is_no_error(app: Flask, shop: Shop, tmp_path: Path) -> None:
    settle(shop, ended(shop))
    done = archive(app, "--older-than", "400d", "--to", str(tmp_path))
    assert (done.exit_code, done.output, stored(shop)) == (0, "0 sessions archived.\n", 1)


@pytest.mark.parametrize("days", ["400", "d", "-1d", "1.5d", "123456d", "٤d", "a year", ""])
def test_what_is_no_number_of_days_is_refused(app: Flask, shop: Shop, days: str) -> None:
    refused = archive(app, "--older-than", days)
    assert refused.exit_code == 2
    assert "is not a number of days, such as 400d." in refused.output


@contextmanager
def files_of_at_most(size_bytes: int) -> Iterator[None]:
    """Writing more fails, as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_full_disk_is_explained_and_loses_nothing(app: Flask, shop: Shop, tmp_path: Path) -> None:
    settle(shop, ended(shop))
    with files_of_at_most(64):
        failed = archive(app, "--older-than", "0d", "--to", str(tmp_path))
    assert failed.exit_code == 1
    assert f"✗ Cannot use {tmp_path}: File too large. No bid is lost." in failed.output
    assert (list(tmp_path.iterdir()), stored(shop), outcomes(shop)) == ([], 1, [("failed", None)])


def test_a_folder_that_cannot_be_made_is_explained(app: Flask, shop: Shop, tmp_path: Path) -> None:
    settle(shop, ended(shop))
    (tmp_path / "file").touch()
    failed = archive(app, "--older-than", "0d", "--to", str(tmp_path / "file" / "folder"))
    assert failed.exit_code == 1
    assert "folder: Not a directory. No bid is lost." in failed.output


def test_one_that_runs_is_left_alone(app: Flask, shop: Shop, tmp_path: Path) -> None:
    settle(shop, ended(shop))
    with shop.services.archiving.turn():
        refused = archive(app, "--older-than", "0d", "--to", str(tmp_path))
    assert (refused.exit_code, stored(shop)) == (1, 1)
    assert "✗ Another archive is running." in refused.output


def test_one_session_that_fails_holds_up_no_other(app: Flask, shop: Shop, tmp_path: Path) -> None:
    bad, good = ended(shop), ended(shop)
    settle(shop, bad, good)
    with shop.services.engine.begin() as connection:
        connection.execute(
            text("UPDATE bid_log_offsets SET persisted_sequence = 2 WHERE session_id = :bad"),
            {"bad": bad.session_id},
        )
    mixed = archive(app, "--older-than", "0d", "--to", str(tmp_path))
    assert f"✗ {bad.session_id}         2 bids  1 bids are stored" in mixed.output
    assert (mixed.exit_code, stored(shop), outcomes(shop)) == (1, 1, [("done", "1")])


def test_ctrl_c_ends_it_without_a_traceback(
    app: Flask, shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settle(shop, ended(shop))

    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Archiving, "_compare", interrupt)
    stopped = archive(app, "--older-than", "0d", "--to", str(tmp_path))
    assert (stopped.exit_code, list(tmp_path.iterdir()), stored(shop)) == (130, [], 1)
    assert stopped.output == "✗ Interrupted. No bid is lost; repeat the command to go on.\n"
