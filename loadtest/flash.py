"""One command: the stack, the members, a flash sale, the check of the ledger, the report."""

import re
import shlex
import signal
import sys
import time
from argparse import Namespace
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from tempfile import mkdtemp
from types import FrameType
from typing import Any

from loadtest import environment, processes, settings
from loadtest.errors import LoadTestError
from loadtest.ledger import ledger, stored_state
from loadtest.ledger.ledger import Recorded, Tail
from loadtest.ledger.verify import Case, Finding, Verdict, verify
from loadtest.processes import Child
from loadtest.report import report
from loadtest.report.progress import Progress, Watcher
from loadtest.report.report import Run
from loadtest.sale import members
from loadtest.sale.api import Api
from loadtest.sale.curve import LATE_SECONDS
from loadtest.sale.plan import Plan, plan_of
from loadtest.sale.sale import Sale, close_sale, join_sale, open_sale

REPORTS_PATH = settings.DATA_PATH / "reports"
RESULTS_PATIENCE_SECONDS = 120.0
FAREWELL_SECONDS = 10.0
TICK_SECONDS = 0.5
LOCUSTFILE = Path(__file__).parent / "traffic" / "locustfile.py"
SHOWN_WINNERS = 10
# However far the option's name is cut short.
SECRET_OPTION = re.compile(r"--admin-[tp][a-z]*")
HIDDEN = "HIDDEN"


class StopAsked:
    """Ctrl-C, SIGTERM, a closed terminal: the first one ends a sale early, a second one all."""

    def __init__(self) -> None:
        self._asked = self._sale_is_open = False
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self._receive)

    def sale_is_open(self) -> None:
        """From now on there is something to close, to verify and to report."""
        self._sale_is_open = True

    def __bool__(self) -> bool:
        return self._asked

    def _receive(self, _number: int, _frame: FrameType | None) -> None:
        if self._asked or not self._sale_is_open:
            raise KeyboardInterrupt
        self._asked = True


@dataclass(frozen=True, slots=True)
class Ground:
    """What a sale is prepared with. `api` speaks as an admin."""

    options: Namespace
    plan: Plan
    api: Api
    tokens: Path
    folder: Path


def flash(options: Namespace) -> int:
    """Run it all. The exit code: 0 when every generator did its work and the books agree."""
    plan = plan_of(options)
    stop = StopAsked()
    host = options.host or settings.address()
    facts = environment.describe()
    with _folder(options.mode) as folder:
        with _stack(options, host, folder):
            admin, tokens = _people(options, host, plan)
            run = _sell(Ground(options, plan, Api(host, admin), tokens, folder), stop, facts)
        _tell(run, folder)
    return exit_code(run, stopped=bool(stop))


def exit_code(run: Run, *, stopped: bool) -> int:
    """0 when the books agree, and nothing is to be remarked but a stop that was asked for."""
    return 0 if run.verdict.holds and (stopped or not run.remark) else 1


def command_line(arguments: Iterable[str]) -> str:
    """How this run was started, for everybody who may read the report: without secrets."""
    shown: list[str] = []
    for argument in arguments:
        option, equals, _ = argument.partition("=")
        if shown and SECRET_OPTION.fullmatch(shown[-1]):
            shown.append(HIDDEN)
        elif equals and SECRET_OPTION.fullmatch(option):
            shown.append(f"{option}={HIDDEN}")
        else:
            shown.append(argument)
    return f"python -m loadtest {shlex.join(shown)}"


@contextmanager
def _folder(mode: str) -> Iterator[Path]:
    """A new folder for this run, the user's own; gone again when nothing came into it."""
    name = datetime.now(UTC).strftime("%Y%m%d-%H%M%S")
    try:
        REPORTS_PATH.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder = Path(mkdtemp(prefix=f"{name}-{mode}-", dir=REPORTS_PATH))
    except OSError as error:
        raise LoadTestError(f"{REPORTS_PATH} cannot be used: {error.strerror}.") from None
    try:
        yield folder
    finally:
        with suppress(OSError):
            folder.rmdir()


@contextmanager
def _stack(options: Namespace, host: str, folder: Path) -> Iterator[None]:
    """What --host names is there already; our own stack is started unless it runs."""
    if options.host:
        Api(host).get("/health")
        yield
        return
    _say(f"Looking for the stack at {host}, or starting it ...")
    with processes.stack(host, folder / "stack.log") as started:
        _say("Started it." if started else "It is running already.")
        yield
        if started:
            _say("Stopping the stack ...")


def _people(options: Namespace, host: str, plan: Plan) -> tuple[str, Path]:
    """A token of an admin, and the file with the members' tokens."""
    if options.host or options.admin_token or options.admin_name:
        admin = members.admin_token(
            host, options.admin_token, options.admin_name, options.admin_password
        )
    else:
        admin = members.own_admin_token(host)
    if options.tokens:
        members.check_tokens(host, members.read_tokens(options.tokens, plan.members))
        return admin, options.tokens
    _say(f"Preparing {plan.members} members ...")
    members.prepared(host, plan.members)
    return admin, members.TOKENS_PATH


def _sell(ground: Ground, stop: StopAsked, facts: dict[str, str]) -> Run:
    api, plan, folder = ground.api, ground.plan, ground.folder
    sale = open_sale(api, plan)
    stop.sale_is_open()
    _say(f"Session {sale.session_id}: {plan.inventory} items, {plan.duration:g} s. Ctrl-C ends it.")
    watcher = Watcher(api, sale.session_id)
    commands = _generators(ground, sale)
    with watcher.watching(), _crowd(ground, sale) as crowd:
        remark = _generate(commands, sale, Progress(sale, watcher, Tail(folder)), folder, stop)
        if sale.end > time.time():
            close_sale(api, sale.session_id)
        _say("Waiting for the results ...")
        results = api.wait_for_results(sale.session_id, RESULTS_PATIENCE_SECONDS)
        remark = remark or _farewell(crowd)
    # A sale closed early has another end than the one announced.
    sale = join_sale(api, sale.session_id)
    recorded = _recorded(folder)
    verdict, versions = _judge(sale.session_id, recorded, results)
    return Run(
        mode=ground.options.mode,
        plan=plan,
        sale=sale,
        recorded=recorded,
        watched=watcher.seen,
        results=results,
        verdict=verdict,
        environment=facts | versions,
        command=command_line(sys.argv[1:]),
        remark=remark,
    )


@contextmanager
def _crowd(ground: Ground, sale: Sale) -> Iterator[Child | None]:
    """The process of the watchers, when some are asked for."""
    count = ground.options.watchers
    if not count:
        yield None
        return
    command = ["-m", "loadtest", "watch", "--host", ground.api.host, "--session", sale.session_id]
    command += ["--watchers", str(count), "--ledger", str(ground.folder)]
    crowd = Child(command, ground.folder / "watchers.log")
    try:
        yield crowd
    finally:
        crowd.stop()


def _farewell(crowd: Child | None) -> str:
    """Let the watchers see the results; what is to be remarked about them."""
    if crowd is None:
        return ""
    if not crowd.wait(FAREWELL_SECONDS):
        return "Not every watcher saw the results."
    if crowd.exit_code:
        _say(f"The watchers failed:\n{crowd.last_words()}")
        return f"The watchers failed; see {crowd.log}."
    return ""


def _generators(ground: Ground, sale: Sale) -> list[list[str]]:
    """The command line of each generator, as anybody could type it."""
    common = ["--host", ground.api.host, "--session", sale.session_id]
    common += ["--tokens", str(ground.tokens), "--ledger", str(ground.folder)]
    common += ground.plan.options()
    count = ground.options.processes
    if ground.options.mode == "open":
        one = ["-m", "loadtest", "open", *common]
        return [[*one, "--part", f"{index + 1}/{count}"] for index in range(count)]
    quiet = ["--headless", "--only-summary", "--loglevel", "ERROR", "--exit-code-on-error", "0"]
    more = ["--processes", str(count)] if count > 1 else []
    # Whoever is waiting for an answer when the sale is over gets it.
    patient = ["--stop-timeout", f"{ground.plan.timeout + 1:.0f}"]
    return [["-m", "locust", "-f", str(LOCUSTFILE), *common, *quiet, *patient, *more]]


def _generate(
    commands: list[list[str]], sale: Sale, progress: Progress, folder: Path, stop: StopAsked
) -> str:
    """Run the generators until they end; what is to be remarked about that."""
    with _running(commands, folder) as generators:
        while not stop and any(generator.exit_code is None for generator in generators):
            progress.show()
            time.sleep(TICK_SECONDS)
        progress.end()
    failed = [generator for generator in generators if generator.exit_code]
    if stop:
        return "The sale was stopped before its time."
    if failed:
        _say(f"A generator failed:\n{failed[0].last_words()}")
        return f"{len(failed)} of {len(generators)} generators failed; see {failed[0].log}."
    if time.time() < sale.end + LATE_SECONDS / 2:
        return "The generators ended before the sale did."
    return ""


@contextmanager
def _running(commands: list[list[str]], folder: Path) -> Iterator[list[Child]]:
    generators = []
    try:
        for number, command in enumerate(commands, 1):
            generators.append(Child(command, folder / f"generator-{number}.log"))
        yield generators
    finally:
        for generator in generators:
            generator.ask_to_stop()
        for generator in generators:
            generator.stop()


def _recorded(folder: Path) -> Recorded:
    """The ledger; an empty one when the sale was stopped before anybody bid."""
    paths = ledger.find(folder)
    return ledger.read(paths) if paths else Recorded()


def _judge(
    session_id: str, recorded: Recorded, results: Mapping[str, Any]
) -> tuple[Verdict, dict[str, str]]:
    """The verdict, and the servers' versions. Books that cannot be read are a difference."""
    try:
        servers = settings.servers()
        case = Case(
            recorded,
            stored_state.read(servers, session_id),
            results,
            servers.ended_keys_ttl_seconds,
        )
        return verify(session_id, case), stored_state.versions(servers)
    except LoadTestError as error:
        return Verdict(session_id, [Finding("the books can be read", 1, [str(error)])]), {}


def _tell(run: Run, folder: Path) -> None:
    """Print the verdict and the winners, and write the report."""
    path = folder / "report.html"
    path.write_text(report.render(run), encoding="utf-8")
    _say()
    for line in run.verdict.lines():
        _say(line)
    if run.remark:
        _say(run.remark)
    winners = run.results["winners"]
    _say(f"\n{len(winners)} winners of {run.results['total_bidders']} bidders:")
    for entry in winners[:SHOWN_WINNERS]:
        _say(f"{entry['rank']:>6}  {entry['username']:<28} {entry['price']:>12,.2f}")
    if len(winners) > SHOWN_WINNERS:
        _say(f"        and {len(winners) - SHOWN_WINNERS} more, in the report")
    _say(f"\nReport: {path}\nLedger: {folder}/ledger-*.jsonl")


def _say(text: str = "") -> None:
    print(text, flush=True)
