"""How a host's metrics come together: each process writes its own file, web reads them all.

A process writes every two seconds, away from the threads that serve, and replaces the file as
a whole. Nothing is added up here: every sample carries the role and the name of its
process, for a counter that vanishes from a sum would look like a reset to Prometheus.
A file that is no longer renewed is shown for a while, until every server that scrapes has
seen the last count, and then deleted.
"""

import json
import os
import socket
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Event, Thread
from typing import Any

import structlog
from prometheus_client import CollectorRegistry
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

log = structlog.get_logger(__name__)

PUBLISH_SECONDS = 2.0
# A process that is that late is gone or stuck: it is not counted, nor are its gauges shown.
ALIVE_SECONDS = 10.0
KEEP_SECONDS = 120.0
# What the Procfile starts; a role that nobody plays is shown as 0.
ROLES = ("web", "bids", "sessions", "default", "deliveries", "beat")
# What somebody runs by hand, and nobody misses when it has ended.
COMMAND = "command"
_SUFFIX = ".json"


class Publisher:
    """Publishes the metrics of this process until it ends."""

    def __init__(self, registry: CollectorRegistry, folder: str, role: str) -> None:
        self._registry = registry
        self._folder = Path(folder)
        self._role = role
        self._process = f"{socket.gethostname()}-{os.getpid()}"
        self._stop = Event()
        self._thread = Thread(target=self._run, name="metrics", daemon=True)

    def start(self) -> None:
        """Publish now, and from now on. A folder that cannot be used is only logged."""
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            if self._folder.stat().st_uid != os.geteuid():
                raise PermissionError("the folder belongs to another user")
            self.publish()
        except OSError as error:
            log.warning("metrics_not_published", role=self._role, reason=str(error))
            return
        self._thread.start()

    def stop(self) -> None:
        """Publish the last counts."""
        self._stop.set()
        if self._thread.ident is not None:
            self._thread.join()
            self._publish_if_possible()

    def publish(self) -> None:
        """Write the file."""
        document = {"role": self._role, "process": self._process, "metrics": self._metrics()}
        path = self._folder / f"{self._role}-{self._process}{_SUFFIX}"
        unfinished = path.with_suffix(".new")
        unfinished.write_text(json.dumps(document), encoding="utf-8")
        unfinished.replace(path)

    def _run(self) -> None:
        while not self._stop.wait(PUBLISH_SECONDS):
            self._publish_if_possible()

    def _publish_if_possible(self) -> None:
        """A full disk must not end the thread: there may be room in a second."""
        with suppress(OSError):
            self.publish()

    def _metrics(self) -> list[Any]:
        return [
            (
                metric.name,
                metric.type,
                metric.documentation,
                [
                    (sample.name, sample.labels, sample.value)
                    for sample in metric.samples
                    if not sample.name.endswith("_created")
                ],
            )
            for metric in self._registry.collect()
        ]


@contextmanager
def publishing(registry: CollectorRegistry, folder: str, role: str) -> Iterator[None]:
    """Publish the metrics of this process while it does this, and the last counts after it."""
    publisher = Publisher(registry, folder, role)
    publisher.start()
    try:
        yield
    finally:
        publisher.stop()


class PublishedMetrics(Collector):
    """What the processes of this host have published."""

    def __init__(self, folder: str) -> None:
        self._folder = Path(folder)

    def describe(self) -> Iterable[Metric]:
        """Nothing: registering must not read the folder."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """One metric a name, with the samples of every process, and how many processes run."""
        merged: dict[str, Metric] = {}
        alive = dict.fromkeys(ROLES, 0)
        for document, is_alive in self._documents():
            role = document["role"]
            if role != COMMAND:
                alive[role] = alive.get(role, 0) + is_alive
            _merge(merged, document, with_gauges=is_alive)
        processes = GaugeMetricFamily("flashbid_processes", "Processes at work.", labels=["role"])
        for role, count in alive.items():
            processes.add_metric([role], count)
        yield processes
        yield from merged.values()

    def _documents(self) -> Iterator[tuple[dict[str, Any], bool]]:
        for path in sorted(self._folder.glob(f"*{_SUFFIX}")):
            # It may be deleted meanwhile by another that reads.
            with suppress(FileNotFoundError):
                age_seconds = time.time() - path.stat().st_mtime
                if age_seconds > KEEP_SECONDS:
                    path.unlink()
                else:
                    document = json.loads(path.read_text(encoding="utf-8"))
                    yield document, age_seconds < ALIVE_SECONDS


def _merge(merged: dict[str, Metric], document: dict[str, Any], *, with_gauges: bool) -> None:
    whose = {"role": document["role"], "process": document["process"]}
    for name, kind, documentation, samples in document["metrics"]:
        if kind == "gauge" and not with_gauges:
            continue
        metric = merged.setdefault(name, Metric(name, documentation, kind))
        for sample_name, labels, value in samples:
            metric.add_sample(sample_name, {**labels, **whose}, value)
