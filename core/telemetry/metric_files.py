"""Collects a host's metrics: each process writes a file, and web reads them all.

A thread of each process replaces its file every two seconds. Samples are not added up but
labelled with role and process: in a sum, an ending process would look like a counter reset
to Prometheus. The file of an ended process is kept until its last counts have been scraped,
and then deleted.
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

from core.telemetry.private_folder import NotPrivate, make_private, require_private

log = structlog.get_logger(__name__)

PUBLISH_SECONDS = 2.0
# A process with an older file is gone or stuck: neither it nor its gauges count.
ALIVE_SECONDS = 10.0
KEEP_SECONDS = 120.0
# The Procfile's roles; one without processes is exported as 0.
ROLES = ("web", "bids", "sessions", "default", "emails", "webhooks", "exports", "beat")
# Commands run by hand, which are not expected to be running.
COMMAND = "command"
_SUFFIX = ".json"


def require_usable(folder: str) -> None:
    """Create the folder where that is possible. Raises NotPrivate if it is another user's."""
    with suppress(OSError):
        make_private(Path(folder))


class Publisher:
    """Publishes this process's metrics until it is stopped."""

    def __init__(self, registry: CollectorRegistry, folder: str, role: str) -> None:
        self._registry = registry
        self._folder = Path(folder)
        self._role = role
        self._process = f"{socket.gethostname()}-{os.getpid()}"
        self._stop = Event()
        self._thread = Thread(target=self._run, name="metrics", daemon=True)

    def start(self) -> None:
        """Publish now and periodically. An unusable folder is only logged."""
        if self._role == COMMAND and not self._folder.exists():
            return
        try:
            self._prepare()
            self.publish()
        except (OSError, NotPrivate) as error:
            log.warning("metrics_not_published", role=self._role, reason=str(error))
            return
        self._thread.start()

    def _prepare(self) -> None:
        """A command creates no folder: run as root, it would shut the services out."""
        if self._role == COMMAND:
            require_private(self._folder)
        else:
            make_private(self._folder)

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
        """Ignore errors: a full disk may have room again by the next time."""
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
    """Publish this process's metrics while the block runs, and the last counts after it."""
    publisher = Publisher(registry, folder, role)
    publisher.start()
    try:
        yield
    finally:
        publisher.stop()


class PublishedMetrics(Collector):
    """The published metrics of all processes of this host."""

    def __init__(self, folder: str) -> None:
        self._folder = Path(folder)

    def describe(self) -> Iterable[Metric]:
        """Nothing: registering must not read the folder."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """The metrics with the samples of all processes, and the number of processes by role."""
        merged: dict[str, Metric] = {}
        alive = dict.fromkeys(ROLES, 0)
        for document, is_alive in self._documents():
            role = document["role"]
            if role != COMMAND:
                alive[role] = alive.get(role, 0) + is_alive
            _merge(merged, document, with_gauges=is_alive)
        processes = GaugeMetricFamily("flashbid_processes", "Running processes.", labels=["role"])
        for role, count in alive.items():
            processes.add_metric([role], count)
        yield processes
        yield from merged.values()

    def _documents(self) -> Iterator[tuple[dict[str, Any], bool]]:
        for path in sorted(self._folder.glob(f"*{_SUFFIX}")):
            # Another reader may delete it meanwhile; one of another user cannot be read.
            with suppress(FileNotFoundError, PermissionError):
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
