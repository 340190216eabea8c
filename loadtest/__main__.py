"""The command line: `python -m loadtest flash`, `open`, `watch`, `verify` and `compare`."""

import argparse
import os
import sys
from collections.abc import Callable
from pathlib import Path

from loadtest import flash, settings
from loadtest.errors import LoadTestError
from loadtest.ledger import ledger, stored_state
from loadtest.ledger.verify import VerificationInput, verify
from loadtest.report.compare import compare
from loadtest.sale import members, plan
from loadtest.sale.api import Api, Unreachable
from loadtest.sale.plan import plan_from_options
from loadtest.sale.sale import open_sale
from loadtest.traffic import crowd, open_model
from loadtest.traffic.open_model import Part

MAX_PROCESSES = 64
MAX_WATCHERS = 50_000


def main(arguments: list[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    try:
        code: int = options.command(options)
    except (LoadTestError, Unreachable) as error:
        sys.stderr.write(f"loadtest: {error}\n")
        return 1
    except KeyboardInterrupt:
        sys.stderr.write("loadtest: stopped.\n")
        return 130
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m loadtest", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="command")
    _add_flash(_command(commands, "flash", "run a flash sale, verify it, write a report", _flash))
    _add_open(_command(commands, "open", "send bids to one session on a schedule", _open))
    _add_watch(_command(commands, "watch", "watch one session's board over WebSockets", _watch))
    _add_verify(
        _command(commands, "verify", "compare a ledger with PostgreSQL, Redis and the API", _verify)
    )
    _add_compare(
        _command(commands, "compare", "show the figures of two runs side by side", _compare)
    )
    return parser


def _command(
    commands: "argparse._SubParsersAction[argparse.ArgumentParser]",
    name: str,
    description: str,
    command: Callable[[argparse.Namespace], int],
) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(
        name, help=description, description=description
    )
    parser.set_defaults(command=command)
    return parser


def _add_flash(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--mode",
        choices=("closed", "open"),
        default="closed",
        help="closed: members wait for responses (Locust); open: bids on a schedule (%(default)s)",
    )
    parser.add_argument(
        "--host", help="a running stack (default: this project's, started if needed)"
    )
    parser.add_argument("--tokens", type=Path, help="token file (default: members are prepared)")
    _add_watchers(parser, default=0)
    _add_admin(parser)
    _add_processes(parser)
    plan.add_options(parser)


def _add_open(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--host", required=True, help="URL of the API")
    parser.add_argument("--tokens", type=Path, default=members.TOKENS_PATH, help="token file")
    parser.add_argument("--session", help="bid in this session instead of creating one")
    parser.add_argument("--ledger", type=Path, default=flash.REPORTS_PATH, help="ledger folder")
    parser.add_argument(
        "--part",
        type=_part,
        default=(1, 1),
        metavar="I/N",
        help="this process's part of the schedule (1/1)",
    )
    _add_admin(parser)
    plan.add_options(parser)


def _add_watch(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--host", required=True, help="URL of the API")
    parser.add_argument("--session", required=True, help="the session to watch")
    parser.add_argument("--ledger", type=Path, default=flash.REPORTS_PATH, help="ledger folder")
    _add_watchers(parser, default=100)


def _add_watchers(parser: argparse.ArgumentParser, *, default: int) -> None:
    parser.add_argument(
        "--watchers",
        type=_watchers,
        default=default,
        metavar="N",
        help="number of WebSockets watching the board (%(default)s)",
    )


def _watchers(text: str) -> int:
    if not (text.isdecimal() and int(text) <= MAX_WATCHERS):
        raise argparse.ArgumentTypeError(f"must be a whole number from 0 to {MAX_WATCHERS}")
    return int(text)


def _add_verify(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("ledger", type=Path, nargs="+", help="ledger files or a folder of them")
    parser.add_argument("--session", required=True, help="the session's id")
    parser.add_argument("--host", help="URL of the API (this project's stack)")


def _add_compare(parser: argparse.ArgumentParser) -> None:
    for name in ("before", "after"):
        parser.add_argument(name, type=Path, help="a report's folder, or its figures.json")


def _add_admin(parser: argparse.ArgumentParser) -> None:
    for name in ("token", "name", "password"):
        variable = f"FLASHBID_ADMIN_{name.upper()}"
        parser.add_argument(
            f"--admin-{name}", default=os.environ.get(variable), help=f"or {variable}"
        )


def _add_processes(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--processes", type=_processes, default=1, help="generator processes (%(default)s)"
    )


def _processes(text: str) -> int:
    if not (text.isdecimal() and 1 <= int(text) <= MAX_PROCESSES):
        raise argparse.ArgumentTypeError(f"must be a whole number from 1 to {MAX_PROCESSES}")
    return int(text)


def _part(text: str) -> tuple[int, int]:
    number, _, count = text.partition("/")
    if not (number.isdecimal() and count.isdecimal() and 1 <= int(number) <= int(count)):
        raise argparse.ArgumentTypeError("must look like 1/2")
    return int(number), int(count)


def _flash(options: argparse.Namespace) -> int:
    return flash.flash(options)


def _open(options: argparse.Namespace) -> int:
    load_plan = plan_from_options(options)
    all_members = members.read_tokens(options.tokens, load_plan.members)
    session_id = options.session
    if not session_id:
        admin = members.admin_token(
            options.host, options.admin_token, options.admin_name, options.admin_password
        )
        session_id = open_sale(Api(options.host, admin), load_plan).session_id
        print(f"Session {session_id}, ledger in {options.ledger}", flush=True)
    number, count = options.part
    part = Part(number - 1, count)
    open_model.run(options.host, load_plan, session_id, all_members, options.ledger, part)
    return 0


def _watch(options: argparse.Namespace) -> int:
    crowd.run(options.host, options.session, options.watchers, options.ledger)
    return 0


def _verify(options: argparse.Namespace) -> int:
    if not stored_state.is_uuid(options.session):
        raise LoadTestError(f"{options.session!r} is not a session's id.")
    paths = [path for place in options.ledger for path in ledger.find(place)]
    recorded = ledger.read(paths, options.session)
    servers = settings.servers()
    found = stored_state.read(servers, options.session)
    if found.session.closed_at is None:
        raise LoadTestError("This session has no results yet. Verify it after it has closed.")
    host = options.host or settings.address()
    results = Api(host).results(options.session)
    verdict = verify(
        options.session, VerificationInput(recorded, found, results, servers.ended_keys_ttl_seconds)
    )
    print("\n".join(verdict.lines()))
    return 0 if verdict.holds else 1


def _compare(options: argparse.Namespace) -> int:
    print("\n".join(compare(options.before, options.after)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
