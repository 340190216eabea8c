"""GET /metrics: metrics of this host's processes, and gauges of the servers."""

from collections.abc import Iterable
from threading import Lock

from flask import Blueprint, current_app
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from core.operations.gauges import StateGauges
from core.telemetry.metric_files import PublishedMetrics
from web.guards.operation import operation
from web.guards.tokens import Auth
from web.state import services
from worker import app, queue_lengths
from worker.broker import broker_errors

blueprint = Blueprint("metrics", __name__)

_REGISTRY_KEY = "metrics_registry"
_building = Lock()


class QueueGauges(Collector):
    """The broker's queue lengths."""

    def describe(self) -> Iterable[Metric]:
        """Nothing: registering must not query the broker."""
        return ()

    def collect(self) -> Iterable[Metric]:
        """The queue lengths; only `flashbid_broker_up` when the broker is unreachable."""
        up = GaugeMetricFamily("flashbid_broker_up", "Whether the job broker is reachable.")
        jobs = GaugeMetricFamily(
            "flashbid_queue_jobs", "Jobs waiting in the queue.", labels=["queue"]
        )
        try:
            lengths = queue_lengths.read()
        except broker_errors(app):
            up.add_metric([], 0)
            return [up]
        up.add_metric([], 1)
        for name, length in lengths.items():
            jobs.add_metric([name], length)
        return [up, jobs]


@blueprint.get("/metrics")
@operation(auth=Auth.SCRAPER, media_type=CONTENT_TYPE_LATEST)
def show_metrics() -> bytes:
    """Get metrics in Prometheus's text format, with METRICS_TOKEN or as an admin."""
    return generate_latest(_registry())


def _registry() -> CollectorRegistry:
    with _building:
        found = current_app.extensions.get(_REGISTRY_KEY)
        if found is None:
            found = current_app.extensions[_REGISTRY_KEY] = _build()
    assert isinstance(found, CollectorRegistry)  # noqa: S101 - only set here
    return found


def _build() -> CollectorRegistry:
    registry = CollectorRegistry()
    registry.register(PublishedMetrics(services().settings.metrics_folder))
    registry.register(StateGauges(services().database, services().redis, services().backlog))
    registry.register(QueueGauges())
    return registry
