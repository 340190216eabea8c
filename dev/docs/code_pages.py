"""Commands and metrics as Markdown, from the code that defines them."""

import ast
import re
from collections.abc import Iterator

import click
from flask import Flask

from core.config import PROJECT_ROOT
from core.telemetry import metrics

# Made at each scrape, not kept in the registry.
_SCRAPED = ("core/operations/gauges.py", "core/telemetry/metric_files.py", "web/routes/metrics.py")
_FLASK = "flask --app web"

Metric = tuple[str, str, list[str], str]


def commands_page(app: Flask) -> str:
    """The targets of make, and what `flask --app web` has."""
    targets = re.findall(
        r"^([a-z-]+):.*## (.+)$", (PROJECT_ROOT / "Makefile").read_text(), re.MULTILINE
    )
    rows = "\n".join(f"| `make {name}` | {what} |" for name, what in targets)
    own = [command for name, command in sorted(app.cli.commands.items())]
    return (
        "# Commands\n\n## make\n\n| command | what it does |\n|---|---|\n"
        f"{rows}\n\n## flask\n\n"
        "They are in `.venv/bin`, and work on the configured servers, or on those of a running "
        "`make run`. They exit with 0, with 1 after a failure, and with 2 for a wrong argument.\n\n"
        + "\n".join(_command(command) for command in own)
    )


def metrics_page() -> str:
    """Every metric of `/metrics`."""
    rows = "\n".join(
        f"| `{name}` | {kind} | {', '.join(f'`{label}`' for label in labels)} | {what} |"
        for name, kind, labels, what in sorted([*_counted(), *_scraped()])
    )
    return (
        "# Metrics\n\nWhat `GET /metrics` shows; each sample also has `role` and `process`. "
        "[Metrics](../how-to/operations.md#metrics) says who may read it.\n\n"
        f"| metric | kind | labels | meaning |\n|---|---|---|---|\n{rows}\n"
    )


def _command(command: click.Command) -> str:
    context = click.Context(command, info_name=f"{_FLASK} {command.name}")
    return f"### {command.name}\n\n```text\n{command.get_help(context)}\n```\n"


def _counted() -> Iterator[Metric]:
    for collector in vars(metrics).values():
        if isinstance(collector, type) or not hasattr(collector, "describe"):
            continue
        for family in collector.describe():
            # Ours has the labels in the family, prometheus_client's own in the collector.
            labels = getattr(collector, "_labelnames", getattr(family, "_labelnames", ()))
            total = "_total" if family.type == "counter" else ""
            yield f"{family.name}{total}", family.type, list(labels), family.documentation


def _scraped() -> Iterator[Metric]:
    for path in _SCRAPED:
        for node in ast.walk(ast.parse((PROJECT_ROOT / path).read_text())):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "GaugeMetricFamily":
                named = {each.arg: each.value for each in node.keywords}
                labels = ast.literal_eval(named["labels"]) if "labels" in named else []
                name, what = (ast.literal_eval(each) for each in node.args[:2])
                yield name, "gauge", labels, what
