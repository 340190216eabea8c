"""The tasks of exports."""

from uuid import uuid4

from core.orders.exports import ExportState, FileFormat, Kind
from tests.integration.worker.test_tasks import session_with_bids, worker_process
from tests.support.broker import Broker
from tests.support.factories import Shop
from worker import queues, tasks

__all__ = ["worker_process"]

JOB = "worker.tasks.make_export"


def test_a_sweep_enqueues_a_lost_export_until_it_is_made(shop: Shop, broker: Broker) -> None:
    session = session_with_bids(shop)
    export_id = shop.services.exports.request(
        session.session_id, Kind.BIDS, FileFormat.CSV, requested_by=uuid4()
    ).export_id
    for _ in range(2):
        tasks.sweep_exports()
    assert broker.queued(queues.EXPORTS) == [(JOB, [str(export_id)])]
    for _ in range(2):
        tasks.make_export(str(export_id))
    assert shop.services.exports.get(export_id).state is ExportState.DONE
    broker.clear()
    tasks.sweep_exports()
    assert broker.queued(queues.EXPORTS) == []


def test_a_purge_keeps_what_is_young(shop: Shop) -> None:
    session = session_with_bids(shop)
    export_id = shop.services.exports.request(
        session.session_id, Kind.BIDS, FileFormat.CSV, requested_by=uuid4()
    ).export_id
    tasks.make_export(str(export_id))
    for _ in range(2):
        tasks.purge_exports()
    assert shop.services.exports.file(export_id)[1].exists()
