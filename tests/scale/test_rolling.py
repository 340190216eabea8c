"""New versions come in while members bid: nobody is refused, and no bid is lost."""

import os
import signal

import psutil
from sqlalchemy import text

from dev.bench.servers.stack import BenchServers
from dev.embedded.server import wait_until
from dev.stack import Stack
from tests.scale.conftest import MakeSale
from tests.scale.sale import Sale

SESSIONS = 2
BIDS_BETWEEN = 150
PATIENCE_SECONDS = 120.0
# All that a member may see of a restart: a kept connection that ended, tried again.
HARMLESS = {"accepted", "replayed", "connection"}


def test_a_rolling_restart_refuses_nobody_and_loses_no_bid(
    running: BenchServers, make_sale: MakeSale
) -> None:
    stack, sale = make_sale({}, sessions=SESSIONS)
    with sale.bidding():
        goes_on(sale)
        reload_web(stack)
        goes_on(sale)
        replace_web(stack)
        goes_on(sale)
        for name in ("worker", "closer", "helper", "mailer", "notifier", "exporter", "beat"):
            stack[name].terminate()
            assert stack[name].exit_code(PATIENCE_SECONDS) == 0
            stack[name].start()
        goes_on(sale)
    print(f"{dict(sale.kinds)}, the slowest after {sale.slowest_ms:.0f} ms")  # noqa: T201 - the figures, for whoever runs this
    assert set(sale.kinds) <= HARMLESS
    sale.close()
    for verdict in sale.verdicts(running.environ):
        assert verdict.holds, "\n".join(verdict.lines()) + stack.log_tails()
    # The control: with one bid of each session lost, none of them holds.
    lose_newest_bids(running)
    assert not any(verdict.holds for verdict in sale.verdicts(running.environ))


def lose_newest_bids(running: BenchServers) -> None:
    with running.services.engine.begin() as connection:
        lost = connection.execute(
            text(
                "DELETE FROM bids WHERE (session_id, sequence) IN "
                "(SELECT session_id, max(sequence) FROM bids GROUP BY session_id)"
            )
        )
    assert lost.rowcount == SESSIONS


def reload_web(stack: Stack) -> None:
    """SIGHUP: the same master and the same code, new workers."""
    leader = stack["web"].popen
    assert leader is not None
    before = {child.pid for child in stack["web"].children()}
    leader.send_signal(signal.SIGHUP)
    assert wait_until(
        lambda: before.isdisjoint(child.pid for child in stack["web"].children()),
        PATIENCE_SECONDS,
    )


def replace_web(stack: Stack) -> None:
    """SIGUSR2: a second master with the new code, on the same socket; the first one ends."""
    old = stack["web"].popen
    assert old is not None
    old.send_signal(signal.SIGUSR2)
    assert wait_until(lambda: successor(old.pid) is not None, PATIENCE_SECONDS)
    new = successor(old.pid)
    assert new is not None
    old.terminate()
    assert old.wait(PATIENCE_SECONDS) == 0
    assert new.is_running()


def successor(master: int) -> psutil.Process | None:
    """The second master, once it has workers of its own."""
    for child in psutil.Process(master).children():
        if child.children() and os.getpgid(child.pid) == master:
            return child
    return None


def goes_on(sale: Sale) -> None:
    goal = sale.count + BIDS_BETWEEN
    assert wait_until(lambda: sale.count >= goal, PATIENCE_SECONDS)
