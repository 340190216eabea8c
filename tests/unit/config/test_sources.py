"""Where settings come from: the environment, `.env`, and the note of a run that is up."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from flask.cli import load_dotenv

from core.config import ConfigError
from core.config import settings as config
from dev.data_folder import lock_folder

Files = Callable[..., None]


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Files]:
    """Writes `.env` and the note of a run that is up, with nothing of the kind in the
    environment.
    """
    monkeypatch.setattr(config, "DOTENV_PATH", tmp_path / ".env")
    monkeypatch.setattr(config, "RUNNING_ENV_PATH", tmp_path / "data" / "running.env")
    for name in ("POSTGRES_HOST", "POSTGRES_PORT", "REDIS_HOST", "REDIS_PORT", "PORT"):
        monkeypatch.delenv(name, raising=False)

    def write(name: str, **values: str) -> None:
        lines = [f"{key}={value}\n" for key, value in values.items()]
        folder = tmp_path / "data" if name == "running.env" else tmp_path
        (folder / name).write_text("".join(lines))

    with lock_folder(tmp_path / "data"):
        yield write


def gathered(*names: str) -> dict[str, str]:
    values = config.gather_values()
    return {name: values[name] for name in names if name in values}


def test_a_running_project_tells_where_its_servers_are(files: Files) -> None:
    files("running.env", REDIS_HOST="127.0.0.1", REDIS_PORT="7001")
    assert gathered("REDIS_HOST", "REDIS_PORT") == {
        "REDIS_HOST": "127.0.0.1",
        "REDIS_PORT": "7001",
    }


def test_the_environment_goes_before_dotenv_and_that_before_the_running_project(
    files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    files("running.env", PORT="1", POSTGRES_PORT="1", REDIS_PORT="1")
    files(".env", PORT="2", POSTGRES_PORT="2")
    monkeypatch.setenv("PORT", "3")
    assert gathered("PORT", "POSTGRES_PORT", "REDIS_PORT") == {
        "PORT": "3",
        "POSTGRES_PORT": "2",
        "REDIS_PORT": "1",
    }


@pytest.mark.parametrize("where", ["environment", "dotenv"])
def test_a_configured_host_switches_off_all_that_the_running_project_says_of_that_server(
    files: Files, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    files("running.env", POSTGRES_HOST="own", POSTGRES_PORT="1", REDIS_HOST="own", REDIS_PORT="2")
    if where == "environment":
        monkeypatch.setenv("POSTGRES_HOST", "db")
    else:
        files(".env", POSTGRES_HOST="db")
    assert gathered("POSTGRES_HOST", "POSTGRES_PORT", "REDIS_HOST", "REDIS_PORT") == {
        "POSTGRES_HOST": "db",
        "REDIS_HOST": "own",
        "REDIS_PORT": "2",
    }


@pytest.mark.parametrize("named", [{"REDIS_HOST": "a"}, {"REDIS_CLUSTER": "a:1"}])
def test_a_server_of_the_running_project_is_taken_whole(
    files: Files, named: dict[str, str]
) -> None:
    files("running.env", **named)
    files(".env", REDIS_PASSWORD="of-another", REDIS_DB="3")
    assert gathered("REDIS_HOST", "REDIS_CLUSTER", "REDIS_PASSWORD", "REDIS_DB") == named


def test_the_note_of_a_killed_run_does_not_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(config, "DOTENV_PATH", tmp_path / ".env")
    monkeypatch.setattr(config, "RUNNING_ENV_PATH", tmp_path / "running.env")
    monkeypatch.delenv("REDIS_HOST", raising=False)
    (tmp_path / "running.env").write_text("REDIS_HOST=left-behind\n")
    assert gathered("REDIS_HOST") == {}
    (tmp_path / "lock").touch()
    assert gathered("REDIS_HOST") == {}


# --- What stands in `.env` -----------------------------------------------------------


@pytest.fixture
def dotenv(files: Files, tmp_path: Path) -> Path:
    return tmp_path / ".env"


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("SMTP_USER='a${HOME}b'", "a${HOME}b"),
        ("SMTP_USER = 'a${NOWHERE}'  # literal", "a${NOWHERE}"),
        ("export SMTP_USER='${x}'", "${x}"),
        ("SMTP_USER='it\\'s'", "it's"),
        ('X=1\nSMTP_USER="a${X}b"', "a1b"),
        ("X=1\nSMTP_USER=a${X}b", "a1b"),
        ("SMTP_USER=a${NOWHERE:-b}c${NOWHERE:-}", "abc"),
        ("SMTP_USER=$x", "$x"),
        ("\ufeffSMTP_USER=a", "a"),
        ("# first\r\nSMTP_USER=a\r\nX=b\r\n", "a"),
        ("SMTP_USER=a # b\rX=1", "a"),
        ("SMTP_USER=caf\u00e9", "caf\u00e9"),
    ],
)
def test_a_value_is_read_as_it_is_meant(dotenv: Path, text: str, value: str) -> None:
    dotenv.write_bytes(text.encode())
    assert gathered("SMTP_USER") == {"SMTP_USER": value}


@pytest.mark.parametrize(
    ("raw", "place"),
    [
        (b"DEBUG=1\nPORT: 8123\n", ", line 2: "),
        (b"\n\n  \nPORT:8123", ", line 4: "),
        (b"# hidden\r\n\r\nPORT 8123\r\n", ", line 3: "),
        (b"PORT\n", ", line 1: "),
        (b"PORT:=8123\n", ", line 1: "),
        (b"JWT_SECRET='hidden\nPORT=1\n", ", line 1: "),
        (b"=hidden", ", line 1: "),
        (b"DEBUG=1\nSMTP_PASSWORD=hidden${NOWHERE}", ", line 2: ${NOWHERE} is not set"),
        (b"DEBUG=1\nSMTP_PASSWORD=hidden\xe9", ", line 2: this is not UTF-8"),
        ("PORT=8123".encode("utf-16"), " is in UTF-16"),
        ("PORT=8123".encode("utf-16-be"), " is in UTF-16"),
        ("PORT=8123".encode("utf-32"), " is in UTF-16"),
    ],
)
def test_what_cannot_be_understood_stops_the_start_with_its_place(
    dotenv: Path, raw: bytes, place: str
) -> None:
    dotenv.write_bytes(raw)
    with pytest.raises(ConfigError) as refused:
        config.gather_values()
    assert str(refused.value).startswith(f"{dotenv}{place}")
    assert "hidden" not in str(refused.value)


def test_a_file_that_cannot_be_read_stops_the_start(dotenv: Path) -> None:
    dotenv.mkdir()
    with pytest.raises(ConfigError, match="cannot be read: Is a directory"):
        config.gather_values()


def test_names_that_are_no_settings_are_known_with_the_likely_ones(
    dotenv: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REDIS_HOSTT", "of another program")
    names = ("PORT", "PORTT", "redis_db", "JWT_SECERT", "POSTGRES_PASS", "REDIS_HOSTT")
    names += ("WORKER_CONCURRENCY", "PUBLISH", "METRICS_TOKEN_FILE", "COMPOSE_FILE", "AWS_REGION")
    dotenv.write_text("".join(f"{name}=1\n" for name in names))
    assert config.unknown_settings() == {
        "PORTT": "PORT",
        "redis_db": "REDIS_DB",
        "JWT_SECERT": "JWT_SECRET",
        "POSTGRES_PASS": "POSTGRES_PASSWORD",
        "COMPOSE_FILE": "",
        "AWS_REGION": "",
    }


def test_what_flask_copied_from_a_file_into_the_environment_does_not_count(
    dotenv: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its command takes the nearest `.env`, from a folder above as well, by rules of its own."""
    above = tmp_path / "above"
    (above / "project").mkdir(parents=True)
    monkeypatch.chdir(above / "project")
    (above / ".env").write_text("REDIS_HOST=of-another-project\nSMTP_USER='a${NOWHERE}b'\n")
    dotenv.write_text("SMTP_USER='a${NOWHERE}b'\nPORTT=1\n")
    # Environments that make installs have it, and then Flask copies nothing.
    monkeypatch.delenv("FLASK_SKIP_DOTENV", raising=False)
    monkeypatch.setenv("FLASK_RUN_FROM_CLI", "true")
    monkeypatch.setenv("SMTP_HOST", "by-the-caller")
    for name in ("REDIS_HOST", "SMTP_USER"):
        # Set first, so that the end of the test removes what Flask is about to set.
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    load_dotenv()
    names = ("REDIS_HOST", "SMTP_USER", "SMTP_HOST")
    assert gathered(*names) == {"SMTP_USER": "a${NOWHERE}b", "SMTP_HOST": "by-the-caller"}
    assert config.unknown_settings() == {"PORTT": "PORT"}
