"""Runs the demo: `make demo`. All of it is in a temporary folder, gone at the end."""

import os
import secrets
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory

from core.config import ConfigError
from dev.demo.shop import ADMIN, Shop
from dev.embedded import embedded_postgres, embedded_redis
from dev.errors import DevError
from dev.signals import StopSignals
from dev.stack import Stack
from flashbid_client import FlashbidError

WELCOME = """\

The demo is up at {url}
  Console         {url}/#/admin
  Sign in as      {admin}, with the password {password}
  API reference   {url}/docs
  Stop            Ctrl-C; nothing is kept
"""


def main() -> int:
    signals = StopSignals()
    try:
        with TemporaryDirectory(prefix="flashbid-demo-") as folder, running(Path(folder)) as stack:
            if not signals.stop_requested():
                run(stack, signals)
            say("Stopping ...")
    except (ConfigError, DevError, FlashbidError) as error:
        sys.stderr.write(f"flashbid: {error}\n")
        return 1
    return 0


@contextmanager
def running(folder: Path) -> Iterator[Stack]:
    """Everything that `make run` runs, with servers of its own."""
    say("Starting PostgreSQL, Redis and the processes, in half a minute or less ...")
    with (
        embedded_postgres(folder / "postgres") as postgres,
        embedded_redis(folder / "redis") as redis,
    ):
        stack = Stack(folder, {**settings(), **postgres, **redis})
        try:
            stack.start()
            yield stack
        finally:
            stack.stop()


def settings() -> dict[str, str]:
    """The usual settings, whatever .env says, except that nobody outside is told anything."""
    return {
        **os.environ,
        "JWT_SECRET": secrets.token_urlsafe(48),
        "JWT_SECRET_FILE": "",
        "CELERY_BROKER_URL": "",
        "FIRST_ACCOUNT_IS_ADMIN": "true",
        "SMTP_HOST": "",
        "WEBHOOK_URL": "",
    }


def run(stack: Stack, signals: StopSignals) -> None:
    """Sell until a stop is requested. Raises DevError if a process ends."""
    url = f"http://localhost:{stack.port}"
    with closing(Shop(f"http://127.0.0.1:{stack.port}")) as shop:
        say(WELCOME.format(url=url, admin=ADMIN, password=shop.password))
        shop.sell(lambda: signals.stop_requested() or stack.has_failed(), say)
    if stack.has_failed():
        raise DevError(f"A process has ended:\n{stack.log_tails()}")


def say(text: str) -> None:
    # The terminal may be closed; the demo must still end cleanly.
    with suppress(OSError):
        print(text, flush=True)


if __name__ == "__main__":
    sys.exit(main())
