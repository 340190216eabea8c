"""`flash`: starts the stack, prepares members, runs a sale, verifies it, writes a report."""

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
from loadtest.ledger.ledger import LedgerContents, LedgerTail
from loadtest.ledger.verify import Finding, Verdict, VerificationInput, verify
from loadtest.processes import Child
from loadtest.report import numbers, report
from loadtest.report.progress import ProgressLine, ServiceMonitor
from loadtest.report.report import Run
from loadtest.sale import members
from loadtest.sale.api import Api
from loadtest.sale.curve import LATE_SECONDS
from loadtest.sale.plan import LoadPlan, plan_from_options
from loadtest.sale.sale import SaleSession, close_sale, join_sale, open_sale

REPORTS_PATH = settings.DATA_PATH / "reports"
RESULTS_TIMEOUT_SECONDS = 120.0
WATCHERS_EXIT_TIMEOUT_SECONDS = 10.0
TICK_SECONDS = 0.5
LOCUSTFILE = Path(__file__).parent / "traffic" / "locustfile.py"
SHOWN_WINNERS = 10
# Including abbreviated option names.
SECRET_OPTION = re.compile(r"--admin-[tp][a-z]*")
HIDDEN = "HIDDEN"


class StopRequest:
    """Stop signals: the first one ends the sale early, the second one everything."""

    def __init__(self) -> None:
        self._asked = self._sale_is_open = False
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self._receive)

    def mark_sale_open(self) -> None:
        """Let the next signal end only the sale: from now on there is something to report."""
        self._sale_is_open = True

    def __bool__(self) -> bool:
        return self._asked

    def _receive(self, _number: int, _frame: FrameType | None) -> None:
        if self._asked or not self._sale_is_open:
            raise KeyboardInterrupt
        self._asked = True


@dataclass(frozen=True, slots=True)
class FlashSetup:
    """Everything prepared for a sale. `api` uses an admin's token."""

    options: Namespace
    plan: LoadPlan
    api: Api
    tokens: Path
    folder: Path


def flash(options: Namespace) -> int:
    """Run everything. Returns 0 when the generators succeeded and verification found nothing."""
    plan = plan_from_options(options)
    stop = StopRequest()
    host = options.host or settings.address()
    facts = environment.describe()
    with _folder(options.mode) as folder:
        with _stack(options, host, folder):
            admin, tokens = _prepare_accounts(options, host, plan)
            run = _run_sale(
                FlashSetup(options, plan, Api(host, admin), tokens, folder), stop, facts
            )
        _publish(run, folder)
    return exit_code(run, stopped=bool(stop))


def exit_code(run: Run, *, stopped: bool) -> int:
    """0 when the verdict holds and there is no warning, except for a requested stop."""
    return 0 if run.verdict.holds and (stopped or not run.warning) else 1


def command_line(arguments: Iterable[str]) -> str:
    """The command line of this run, without secrets, for the report."""
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
    """A new private folder for this run, removed if it stays empty."""
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
    """Check the stack that --host names; without it, start ours unless it is running."""
    if options.host:
        Api(host).get("/health")
        yield
        return
    _print(f"Looking for the stack at {host}, or starting it ...")
    with processes.stack(host, folder / "stack.log") as started:
        _print("Started." if started else "Already running.")
        yield
        if started:
            _print("Stopping the stack ...")


def _prepare_accounts(options: Namespace, host: str, plan: LoadPlan) -> tuple[str, Path]:
    """An admin's token, and the path of the members' token file."""
    if options.host or options.admin_token or options.admin_name:
        admin = members.admin_token(
            host, options.admin_token, options.admin_name, options.admin_password
        )
    else:
        admin = members.own_admin_token(host)
    if options.tokens:
        members.check_tokens(host, members.read_tokens(options.tokens, plan.members))
        return admin, options.tokens
    _print(f"Preparing {plan.members} members ...")
    members.prepared(host, plan.members)
    return admin, members.TOKENS_PATH


def _run_sale(setup: FlashSetup, stop: StopRequest, facts: dict[str, str]) -> Run:
    api, plan, folder = setup.api, setup.plan, setup.folder
    sale = open_sale(api, plan)
    stop.mark_sale_open()
    _print(
        f"Session {sale.session_id}: {plan.inventory} items, {plan.duration:g} s. Ctrl-C ends it."
    )
    monitor = ServiceMonitor(api, sale.session_id)
    commands = _generators(setup, sale)
    with monitor.running(), _watchers(setup, sale) as watchers:
        warning = _generate(
            commands, sale, ProgressLine(sale, monitor, LedgerTail(folder)), folder, stop
        )
        if sale.end > time.time():
            close_sale(api, sale.session_id)
        _print("Waiting for the results ...")
        results = api.wait_for_results(sale.session_id, RESULTS_TIMEOUT_SECONDS)
        warning = warning or _await_watchers(watchers)
    # A sale closed early has a different end.
    sale = join_sale(api, sale.session_id)
    recorded = _read_ledger(folder)
    verdict, versions = _verify(sale.session_id, recorded, results)
    verdict.findings.append(numbers.agreement(recorded.attempts, sale.start))
    return Run(
        mode=setup.options.mode,
        plan=plan,
        sale=sale,
        recorded=recorded,
        service_samples=monitor.samples,
        results=results,
        verdict=verdict,
        environment=facts | versions,
        command=command_line(sys.argv[1:]),
        warning=warning,
    )


@contextmanager
def _watchers(setup: FlashSetup, sale: SaleSession) -> Iterator[Child | None]:
    """Run the watchers' process, if --watchers is set."""
    count = setup.options.watchers
    if not count:
        yield None
        return
    command = ["-m", "loadtest", "watch", "--host", setup.api.host, "--session", sale.session_id]
    command += ["--watchers", str(count), "--ledger", str(setup.folder)]
    watchers = Child(command, setup.folder / "watchers.log")
    try:
        yield watchers
    finally:
        watchers.stop()


def _await_watchers(watchers: Child | None) -> str:
    """Wait until the watchers have seen the results; returns a warning or ''."""
    if watchers is None:
        return ""
    if not watchers.wait(WATCHERS_EXIT_TIMEOUT_SECONDS):
        return "Some watchers did not see the results."
    if watchers.exit_code:
        _print(f"The watchers failed:\n{watchers.last_words()}")
        return f"The watchers failed; see {watchers.log}."
    return ""


def _generators(setup: FlashSetup, sale: SaleSession) -> list[list[str]]:
    """The command line of each generator."""
    common = ["--host", setup.api.host, "--session", sale.session_id]
    common += ["--tokens", str(setup.tokens), "--ledger", str(setup.folder)]
    common += setup.plan.options()
    count = setup.options.processes
    if setup.options.mode == "open":
        one = ["-m", "loadtest", "open", *common]
        return [[*one, "--part", f"{index + 1}/{count}"] for index in range(count)]
    quiet = ["--headless", "--only-summary", "--loglevel", "ERROR", "--exit-code-on-error", "0"]
    more = ["--processes", str(count)] if count > 1 else []
    # Long enough for pending responses when the sale is over.
    patient = ["--stop-timeout", f"{setup.plan.timeout + 1:.0f}"]
    return [["-m", "locust", "-f", str(LOCUSTFILE), *common, *quiet, *patient, *more]]


def _generate(
    commands: list[list[str]],
    sale: SaleSession,
    progress: ProgressLine,
    folder: Path,
    stop: StopRequest,
) -> str:
    """Run the generators until they end; returns a warning or ''."""
    with _running(commands, folder) as generators:
        while not stop and any(generator.exit_code is None for generator in generators):
            progress.show()
            time.sleep(TICK_SECONDS)
        progress.end()
    failed = [generator for generator in generators if generator.exit_code]
    if stop:
        return "The sale was stopped early."
    if failed:
        _print(f"A generator failed:\n{failed[0].last_words()}")
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


def _read_ledger(folder: Path) -> LedgerContents:
    """The ledger; empty when the sale was stopped before the first bid."""
    paths = ledger.find(folder)
    return ledger.read(paths) if paths else LedgerContents()


def _verify(
    session_id: str, recorded: LedgerContents, results: Mapping[str, Any]
) -> tuple[Verdict, dict[str, str]]:
    """The verdict and the servers' versions. An unreadable stored state is a finding."""
    try:
        servers = settings.servers()
        case = VerificationInput(
            recorded,
            stored_state.read(servers, session_id),
            results,
            servers.ended_keys_ttl_seconds,
        )
        return verify(session_id, case), stored_state.versions(servers)
    except LoadTestError as error:
        return Verdict(
            session_id, [Finding("PostgreSQL and Redis can be read", 1, [str(error)])]
        ), {}


def _publish(run: Run, folder: Path) -> None:
    """Write the report, and print the verdict and the winners."""
    path = folder / "report.html"
    path.write_text(report.render(run), encoding="utf-8")
    numbers.write(run, folder)
    _print()
    for line in run.verdict.lines():
        _print(line)
    if run.warning:
        _print(run.warning)
    winners = run.results["winners"]
    _print(f"\n{len(winners)} winners of {run.results['total_bidders']} bidders:")
    for entry in winners[:SHOWN_WINNERS]:
        _print(f"{entry['rank']:>6}  {entry['username']:<28} {entry['price']:>12,.2f}")
    if len(winners) > SHOWN_WINNERS:
        _print(f"        and {len(winners) - SHOWN_WINNERS} more, in the report")
    _print(f"\nReport: {path}\nFigures: {folder / numbers.FIGURES}, {numbers.SECONDS}")
    _print(f"Ledger: {folder}/ledger-*.jsonl")


def _print(text: str = "") -> None:
    print(text, flush=True)
