"""The note of `make run` for commands, and what stops it before it starts anything."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from core.config import PROJECT_ROOT, load_settings
from core.config import settings as config
from core.telemetry.open_files import MIN_OPEN_FILES
from dev import run
from dev.data_folder import lock_folder
from dev.errors import DevError

SERVED = {
    "PORT": "8123",
    "REDIS_HOST": "bids.example",
    "REDIS_PASSWORD": 'it\'s ${HOME} \\ `id` "100%" # x',
    "CELERY_BROKER_URL": "amqp://jobs//",
    "JWT_SECRET": "a-secret-for-tests-only-of-more-than-32-bytes",
}


def test_commands_read_what_the_run_serves_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (config, run):
        monkeypatch.setattr(module, "RUNNING_ENV_PATH", tmp_path / "running.env")
    with lock_folder(tmp_path):
        with run._running_env({**SERVED, "PATH": "/bin", "SMTP_HOST": ""}):
            assert (tmp_path / "running.env").stat().st_mode & 0o777 == 0o600
            assert config.running_values() == SERVED
            assert load_settings(config.running_values()).redis_address == "bids.example:6379/0"
        assert config.running_values() == {}


def test_an_empty_variable_hides_what_the_run_serves_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(config, "running_values", lambda: SERVED)
    monkeypatch.setattr(config, "DOTENV_PATH", tmp_path / ".env")
    monkeypatch.setenv("CELERY_BROKER_URL", "")
    assert "CELERY_BROKER_URL" not in config.gather_values()


@pytest.mark.parametrize("name", ["a\nb", "a\tb", "a\x1bb", "caf\udce9"])
def test_a_folder_that_servers_cannot_handle_is_refused(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(run, "PROJECT_ROOT", Path("/home") / name)
    with pytest.raises(DevError, match="rename it"):
        run._check_machine()


@pytest.mark.parametrize("name", ["a-file", "a-file/data"])
def test_a_data_folder_that_cannot_be_is_said(tmp_path: Path, name: str) -> None:
    (tmp_path / "a-file").touch()
    with (
        pytest.raises(DevError, match="cannot be used as a data folder"),
        lock_folder(tmp_path / name),
    ):
        pass


@pytest.mark.parametrize(
    "command",
    [
        [sys.executable, "-m", "dev", "run"],
        [sys.executable, "-m", "gunicorn", "--config", "web/gunicorn_conf.py", "web.asgi:app"],
    ],
)
def test_too_few_open_files_are_said_in_one_sentence(command: list[str]) -> None:
    done = subprocess.run(  # noqa: S603 - our own commands
        ["/bin/sh", "-c", 'ulimit -n 190; exec "$@"', "sh", *command],
        cwd=PROJECT_ROOT,
        env={**os.environ, **SERVED},
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert f"190 open files are allowed here, but {MIN_OPEN_FILES} are needed" in done.stderr
    assert "Traceback" not in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
