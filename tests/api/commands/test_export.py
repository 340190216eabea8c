"""`flask --app web export`."""

from pathlib import Path
from uuid import uuid4

import pytest
from click.testing import Result
from flask import Flask

from tests.integration.orders.test_export_files import file_size_limit
from tests.support.factories import Shop


def run(app: Flask, *arguments: str) -> Result:
    with app.app_context():
        return app.test_cli_runner().invoke(args=list(arguments))


@pytest.mark.parametrize("file_format", ["csv", "ndjson"])
def test_it_writes_a_file_for_its_owner(
    app: Flask, shop: Shop, tmp_path: Path, file_format: str
) -> None:
    session, path = shop.session(), tmp_path / "bids"
    shop.bid(shop.bidder(), session, "120")
    shop.drain(session)
    arguments = ["export", str(session.session_id), "--kind", "bids", "--format", file_format]
    done = run(app, *arguments, "--output", str(path))
    assert (done.exit_code, f"✓ {path}: 1 rows, " in done.output) == (0, True)
    assert path.stat().st_mode & 0o777 == 0o600
    with file_size_limit(10):
        failed = run(app, *arguments, "--output", str(path))
    assert (failed.exit_code, "File too large." in failed.stderr) == (1, True)


def test_it_refuses_a_session_that_runs_or_is_not_there(
    app: Flask, shop: Shop, tmp_path: Path
) -> None:
    running = str(shop.session().session_id)
    for session_id, exit_code in ((running, 1), (str(uuid4()), 2)):
        done = run(app, "export", session_id, "--output", str(tmp_path / "results"))
        assert (done.exit_code, done.stderr[:1]) == (exit_code, "✗")
    assert list(tmp_path.iterdir()) == []
