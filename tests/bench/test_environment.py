"""What the bench's processes are told: nothing of the developer's own settings."""

import subprocess
import sys

import pytest

from core.config import PROJECT_ROOT, SettingsReader, load_settings, read_settings
from dev.bench.servers.stack import BID_RATE, _own_settings, environ_of
from tests.system import copies

OWN = {"REDIS_HOST": "127.0.0.1", "REDIS_PORT": "1", "JWT_SECRET": "0123456789" * 4}
# Whatever reads it is refused it, or is seen to have it.
FOREIGN = "foreign"
SAY_SETTINGS = "from core.config import load_settings; print(load_settings())"


def all_settings() -> set[str]:
    reader = SettingsReader(OWN)
    read_settings(reader)
    return set(reader.names)


@pytest.fixture
def developers_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*all_settings(), "GUNICORN_CMD_ARGS", "PGOPTIONS", "PYTHONPATH"):
        monkeypatch.setenv(name, FOREIGN)


def test_neither_the_environment_nor_a_file_says_a_setting(developers_environment: None) -> None:
    environ = environ_of(OWN)
    assert FOREIGN not in environ.values()
    with copies.project() as folder:
        (folder / ".env").write_text("".join(f"{name}={FOREIGN}\n" for name in all_settings()))
        told = subprocess.run(  # noqa: S603 - the project's own settings
            [sys.executable, "-c", SAY_SETTINGS],
            check=False,
            cwd=folder,
            env=environ,
            capture_output=True,
            text=True,
        )
    assert told.returncode == 0, told.stderr
    alone = repr(load_settings(OWN)).replace(str(PROJECT_ROOT), str(folder))
    assert told.stdout.strip() == alone


def test_the_watched_application_alone_has_a_limit_that_is_on() -> None:
    own = environ_of(_own_settings(OWN))
    assert load_settings(own).bid_rate_per_second == 0
    assert load_settings({**own, **BID_RATE}).bid_rate_per_second > 0
