"""Runs the whole project: its servers, then every process of the Procfile."""

import os
import re
import secrets
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from http.client import HTTPException
from pathlib import Path
from threading import Thread
from urllib.request import urlopen

from honcho.environ import parse_procfile

from core.config import (
    PROJECT_ROOT,
    RUNNING_ENV_PATH,
    Settings,
    SettingsReader,
    gather_values,
    host_port,
    load_settings,
    read_settings,
    unknown_setting_sentences,
)
from core.telemetry import open_files
from dev.data_folder import (
    DATA_PATH,
    JWT_SECRET_PATH,
    POSTGRES_PATH,
    PROCESSES_PATH,
    REDIS_PATH,
    lock_folder,
    write_private,
)
from dev.embedded import embedded_postgres, embedded_redis
from dev.errors import DevError
from dev.processes import Processes, Terminal, stop_leftovers
from dev.services import check_broker, check_port_is_free, check_postgres, check_redis
from dev.signals import StopSignals

DEFAULT_HOST = "127.0.0.1"
RELEASE = "release"
# Where a server on all addresses can be asked.
_LOOPBACKS = {"0.0.0.0": DEFAULT_HOST, "::": "::1"}  # noqa: S104 - compared, not bound
_UNUSABLE = re.compile("[\0-\x1f\x7f\ud800-\udfff]")
HEALTH_POLL_SECONDS = 0.5
HEALTH_TIMEOUT_SECONDS = 5.0

WELCOME = """\

Flashbid is up at {url}
  API reference   {url}/docs
  First steps     see README.md; in another terminal: .venv/bin/python -m flask --app web --help
  Stop            Ctrl-C; the data stays in {data}
  Start afresh    make reset

"""


def run() -> int:
    """Returns the exit code: 0 after a requested stop, else that of the failed process."""
    signals = StopSignals()
    _check_machine()
    with lock_folder(DATA_PATH):
        _clear_leftovers()
        values = _values()
        settings = load_settings(values)
        _warn(unknown_setting_sentences())
        check_port_is_free(settings.host, settings.port)
        with _servers(values, settings) as server_settings:
            values |= server_settings
            check_broker(load_settings(values), is_default=not values.get("CELERY_BROKER_URL"))
            with _running_env(values):
                return _run_processes(values, settings, signals)


def _check_machine() -> None:
    """Raise DevError for what no setting can change."""
    if _UNUSABLE.search(str(PROJECT_ROOT)):
        raise DevError(
            f"The folder {str(PROJECT_ROOT)!r} has a name with control characters or bytes that "
            "are no UTF-8, which its servers do not accept: rename it."
        )
    try:
        open_files.ensure_minimum()
    except open_files.TooFewOpenFiles as error:
        raise DevError(str(error)) from None


def _clear_leftovers() -> None:
    """Remove what a killed run left behind."""
    RUNNING_ENV_PATH.unlink(missing_ok=True)
    if stop_leftovers(PROCESSES_PATH):
        _say("Stopped the processes of an earlier run that was killed.")


def _values() -> dict[str, str]:
    """The configured settings, with defaults for a local run."""
    values = {"HOST": DEFAULT_HOST, **gather_values()}
    debug = SettingsReader(values).flag("DEBUG", default=False)
    if not (debug or values.get("JWT_SECRET") or values.get("JWT_SECRET_FILE")):
        values["JWT_SECRET"] = _own_jwt_secret()
    return values


def _own_jwt_secret() -> str:
    """The JWT secret of this data folder, kept so that a restart logs nobody out."""
    secret = JWT_SECRET_PATH.read_text().strip() if JWT_SECRET_PATH.exists() else ""
    if not secret:
        secret = secrets.token_urlsafe(48)
        write_private(JWT_SECRET_PATH, f"{secret}\n")
    return secret


@contextmanager
def _servers(values: Mapping[str, str], settings: Settings) -> Iterator[dict[str, str]]:
    """Check the configured servers and start the others; yields the settings of those started."""
    started_settings: dict[str, str] = {}
    if values.get("POSTGRES_HOST"):
        check_postgres(settings)
    if values.get("REDIS_HOST") or values.get("REDIS_CLUSTER"):
        check_redis(settings)
    with ExitStack() as started:
        if not values.get("POSTGRES_HOST"):
            _say("Starting PostgreSQL ...")
            started_settings |= started.enter_context(embedded_postgres(POSTGRES_PATH))
        if not (values.get("REDIS_HOST") or values.get("REDIS_CLUSTER")):
            _say("Starting Redis ...")
            started_settings |= started.enter_context(embedded_redis(REDIS_PATH))
        yield started_settings


@contextmanager
def _running_env(values: Mapping[str, str]) -> Iterator[None]:
    """Write running.env, from which commands in other terminals take the settings that the run
    has from its own environment, and those of its servers.
    """
    read = SettingsReader(values)
    read_settings(read)
    served = {name: values[name] for name in sorted(set(read.names)) if values.get(name)}
    lines = (f"{name}={_quoted(value)}\n" for name, value in served.items())
    write_private(RUNNING_ENV_PATH, "".join(lines))
    try:
        yield
    finally:
        RUNNING_ENV_PATH.unlink(missing_ok=True)


def _quoted(value: str) -> str:
    escaped = value.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


def _run_processes(values: Mapping[str, str], settings: Settings, signals: StopSignals) -> int:
    commands = _procfile()
    release = commands.pop(RELEASE)
    processes = Processes(_child_environ(values), Terminal(), PROCESSES_PATH)
    try:
        return _release(processes, release, signals) or _serve(
            processes, commands, settings, signals
        )
    finally:
        _say("Stopping ... (Ctrl-C again to force it)")
        processes.stop(hurry=signals.force_requested)


def _release(processes: Processes, command: str, signals: StopSignals) -> int:
    """Run the release step, which creates the database's tables."""
    processes.start(RELEASE, command)
    ended = processes.wait(unless=signals.stop_requested)
    if ended is None or ended == (RELEASE, 0):
        processes.stop(hurry=signals.force_requested)
        return 0
    return _failed(*ended)


def _serve(
    processes: Processes, commands: Mapping[str, str], settings: Settings, signals: StopSignals
) -> int:
    """Run all processes until a stop is requested or one fails soon after its start."""
    if signals.stop_requested():
        return 0
    for name, command in commands.items():
        processes.start(name, command)
    Thread(target=_welcome, args=(settings, signals), daemon=True).start()
    ended = processes.wait(unless=signals.stop_requested, revives=True)
    return 0 if ended is None else _failed(*ended)


def _procfile() -> dict[str, str]:
    text = (PROJECT_ROOT / "Procfile").read_text(encoding="utf-8")
    return dict(parse_procfile(text).processes)


def _child_environ(values: Mapping[str, str]) -> dict[str, str]:
    """The processes' environment: this virtual environment first on PATH, unbuffered output.

    A variable that is set but empty in our environment stays empty and overrides `.env`.
    """
    emptied = {name: "" for name, value in os.environ.items() if not value}
    programs = Path(sys.executable).parent
    path = os.pathsep.join([str(programs), values.get("PATH", os.defpath)])
    # Flask need not look for `.env` either.
    fixed = {"PATH": path, "PYTHONUNBUFFERED": "1", "FLASK_SKIP_DOTENV": "1"}
    return {**emptied, **values, **fixed}


def _failed(name: str, code: int) -> int:
    reason = f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"
    sys.stderr.write(f"flashbid: {name} {reason}, so everything was stopped.\n")
    return code if code > 0 else 1


def _welcome(settings: Settings, signals: StopSignals) -> None:
    """Print the welcome text once the web process answers."""
    host = _LOOPBACKS.get(settings.host, settings.host)
    while not _is_healthy(f"http://{host_port(host, settings.port)}/health"):
        time.sleep(HEALTH_POLL_SECONDS)
    url = f"http://{host_port('localhost' if host == DEFAULT_HOST else host, settings.port)}"
    if not signals.stop_requested():
        _say(WELCOME.format(url=url, data=DATA_PATH))


def _is_healthy(url: str) -> bool:
    with suppress(OSError, HTTPException), urlopen(url, timeout=HEALTH_TIMEOUT_SECONDS) as answer:  # noqa: S310 - our own address
        return bool(answer.status == 200)  # noqa: PLR2004 - HTTP's own number
    return False


def _warn(sentences: list[str]) -> None:
    for sentence in sentences:
        sys.stderr.write(f"flashbid: WARNING: {sentence}\n")


def _say(text: str) -> None:
    # The terminal may be closed; the run must still end cleanly.
    with suppress(OSError):
        print(text, flush=True)
