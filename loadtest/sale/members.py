"""The members, and the admin who creates the session."""

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from secrets import token_hex, token_urlsafe
from typing import Any

from loadtest.errors import LoadTestError
from loadtest.sale.api import Api, Refused
from loadtest.settings import DATA_PATH, PROJECT_ROOT

TOKENS_PATH = DATA_PATH / "loadtest" / "members.jsonl"
ADMIN_PATH = DATA_PATH / "loadtest" / "admin.json"
COMMAND_TIMEOUT_SECONDS = 120


@dataclass(frozen=True, slots=True)
class MemberToken:
    """A member's id and token."""

    user_id: str
    token: str


def read_tokens(path: Path, count: int) -> list[MemberToken]:
    """Read the first `count` members of a file written by `seed-members`."""
    try:
        lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        members = [MemberToken(str(line["user_id"]), str(line["token"])) for line in lines]
    except OSError as error:
        raise LoadTestError(
            f"{path} cannot be read: {error.strerror}. {_how_to_seed(count)}"
        ) from None
    except (ValueError, KeyError, TypeError):
        raise LoadTestError(f"{path} is not a token file. {_how_to_seed(count)}") from None
    if len(members) < count:
        raise LoadTestError(f"{path} has {len(members)} members, but {count} are needed.")
    return members[:count]


def _how_to_seed(count: int) -> str:
    return f"Create one with: .venv/bin/flask --app web seed-members {count} --tokens FILE"


def check_tokens(host: str, members: list[MemberToken]) -> None:
    """Raise LoadTestError unless the host accepts the first and the last token."""
    for member in (members[0], members[-1]):
        try:
            Api(host, member.token).get("/api/auth/me")
        except Refused as refused:
            if refused.status != 401:
                raise
            raise LoadTestError(
                f"{host} rejects these members' tokens: they belong to another installation "
                "or have expired. Seed new members."
            ) from None


def prepared(host: str, count: int, path: Path = TOKENS_PATH) -> list[MemberToken]:
    """Members of an earlier run if their tokens are still valid, else new ones."""
    try:
        members = read_tokens(path, count)
        check_tokens(host, members)
    except LoadTestError:
        _flask("seed-members", str(count), "--tokens", str(path))
        members = read_tokens(path, count)
        check_tokens(host, members)
    return members


def admin_token(
    host: str, token: str | None = None, name: str | None = None, password: str | None = None
) -> str:
    """An admin's token: the given one, or that of the named account, registered if needed."""
    if not token and name and password:
        token = _log_in(host, name, password) or _register(host, name, password)
    if not token:
        raise LoadTestError(
            "Creating a session needs an admin: pass --admin-token, or --admin-name and "
            "--admin-password (environment: FLASHBID_ADMIN_TOKEN, _NAME, _PASSWORD)."
        )
    if not Api(host, token).get("/api/auth/me")["is_admin"]:
        raise LoadTestError(
            "This account is not an admin. Create one with: flask --app web create-admin"
        )
    return token


def own_admin_token(host: str, path: Path = ADMIN_PATH) -> str:
    """A token of the admin shared by load tests on this machine, created if needed."""
    token = _remembered_admin(host, path)
    if token:
        return token
    name, password = f"loadtest-{token_hex(4)}", token_urlsafe(24)
    _flask("create-admin", name, f"{name}@example.invalid", answers=f"{password}\n{password}\n")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch(mode=0o600)
    path.write_text(json.dumps({"username": name, "password": password}))
    return admin_token(host, name=name, password=password)


def _remembered_admin(host: str, path: Path) -> str | None:
    try:
        account: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return _log_in(host, account["username"], account["password"])
    except (OSError, ValueError, KeyError):
        return None


def _log_in(host: str, name: str, password: str) -> str | None:
    body = {"username": name, "password": password}
    try:
        return str(Api(host).call("POST", "/api/auth/login", body)["token"])
    except Refused as refused:
        if refused.code == "invalid_credentials":
            return None
        raise


def _register(host: str, name: str, password: str) -> str:
    body = {"username": name, "email": f"{token_hex(8)}@example.com", "password": password}
    return str(Api(host).call("POST", "/api/auth/register", body)["token"])


def _flask(*arguments: str, answers: str = "") -> None:
    """Run a command of the web application. Passwords go to stdin, never into arguments."""
    command = [sys.executable, "-m", "flask", "--app", "web", *arguments]
    try:
        done = subprocess.run(  # noqa: S603 - the project's own command
            command,
            cwd=PROJECT_ROOT,
            input=answers,
            capture_output=True,
            text=True,
            check=False,
            # Without a controlling terminal, it reads the password from stdin.
            start_new_session=True,
            timeout=COMMAND_TIMEOUT_SECONDS,
        )
    except subprocess.TimeoutExpired:
        raise LoadTestError(f"flask --app web {arguments[0]} timed out.") from None
    if done.returncode != 0:
        raise LoadTestError(f"flask --app web {arguments[0]} failed: {done.stderr.strip()}")
