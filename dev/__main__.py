"""The command line: `python -m dev run` and `python -m dev reset`."""

import argparse
import sys

from core.config import ConfigError
from dev.errors import DevError
from dev.reset import reset
from dev.run import run


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m dev", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="command")
    commands.add_parser("run", help="run the whole project").set_defaults(command=run)
    commands.add_parser("reset", help="delete its data").set_defaults(command=reset)
    for stream in (sys.stdout, sys.stderr):
        # Paths and log lines may have characters that the terminal's encoding lacks.
        stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    try:
        code: int = parser.parse_args().command()
    except (ConfigError, DevError) as error:
        sys.stderr.write(f"flashbid: {error}\n")
        return 1
    return code


if __name__ == "__main__":
    sys.exit(main())
