"""A sale with RabbitMQ for the broker and PgBouncer before PostgreSQL, end to end."""

from pathlib import Path

from dev.bench.servers.stack import BenchServers
from dev.embedded.server import wait_until
from dev.engines import pgbouncer, rabbitmq
from tests.scale.conftest import MakeSale

BIDS = 600
SALE_SECONDS = 120.0


def test_a_sale_stands_on_rabbitmq_and_pgbouncer(
    running: BenchServers, tmp_path: Path, make_sale: MakeSale
) -> None:
    with (
        pgbouncer(tmp_path / "pgbouncer", running.environ) as settings,
        rabbitmq(tmp_path / "rabbitmq") as broker,
    ):
        environ = {name: text for name, text in settings.items() if name.startswith("POSTGRES_")}
        stack, sale = make_sale({**environ, "CELERY_BROKER_URL": broker}, sessions=3)
        with sale.bidding():
            assert wait_until(lambda: sale.count >= BIDS // 3, SALE_SECONDS)
            # RabbitMQ hands out again at once what they had not acknowledged.
            for name in ("worker", "closer"):
                stack[name].kill()
                stack[name].start()
            assert wait_until(lambda: sale.count >= BIDS, SALE_SECONDS)
        sale.close()
        for verdict in sale.verdicts(running.environ):
            assert verdict.holds, "\n".join(verdict.lines()) + stack.log_tails()
        assert set(stack.stop().values()) == {0}
