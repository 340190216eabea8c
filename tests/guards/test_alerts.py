"""Every alert has its runbook entry and its test; every metric it asks for exists."""

import json
import re
from collections.abc import Iterator

import yaml

from core import errors
from core.config import PROJECT_ROOT
from core.telemetry import metrics
from dev.docs.code_pages import metrics_page
from web.guards.problems import INTERNAL_ERROR, PROBLEMS

RULES = yaml.safe_load((PROJECT_ROOT / "deploy" / "alerts.yml").read_text())["groups"][0]["rules"]
TESTS = yaml.safe_load((PROJECT_ROOT / "tests" / "alerts" / "alerts_test.yml").read_text())["tests"]
OPERATIONS = (PROJECT_ROOT / "docs" / "how-to" / "operations.md").read_text()
# Made when they are asked for.
ASKED = ("core/operations/gauges.py", "core/telemetry/metric_files.py", "web/routes/metrics.py")


def known() -> set[str]:
    counted = {
        sample_name
        for family in metrics.REGISTRY.collect()
        for sample_name in _names(family.name, family.type)
    }
    sources = "".join((PROJECT_ROOT / path).read_text() for path in ASKED)
    return counted | set(re.findall(r'"(flashbid_\w+)"', sources))


def _names(name: str, kind: str) -> Iterator[str]:
    yield from {
        "counter": [f"{name}_total"],
        "histogram": [f"{name}_bucket", f"{name}_count", f"{name}_sum"],
    }.get(kind, [name])


def used(expression: str) -> set[str]:
    return set(re.findall(r"\bflashbid_\w+", expression))


def test_every_alert_asks_for_metrics_that_exist() -> None:
    assert len(RULES) >= 10
    for rule in RULES:
        assert used(rule["expr"]) <= known(), rule["alert"]


def test_bids_fail_by_every_answer_that_says_so() -> None:
    [rule] = [rule for rule in RULES if rule["alert"] == "BidsFail"]
    # No bid waits for a password hash or a page.
    of_bids = [problem for kind, problem in PROBLEMS.items() if kind is not errors.ServiceBusy]
    failed_here = {problem.code for problem in of_bids if problem.status >= 500}
    asked = re.findall(r'outcome=~"([^"]+)"', rule["expr"])
    assert [set(outcomes.split("|")) for outcomes in asked] == [failed_here | {INTERNAL_ERROR.code}]


def test_every_alert_has_an_entry_in_the_runbook() -> None:
    for rule in RULES:
        name = rule["alert"]
        assert rule["annotations"]["runbook_url"] == f"docs/how-to/operations.md#{name.lower()}"
        entry = OPERATIONS.partition(f"### {name}\n")[2].partition("\n#")[0]
        assert "**Look at**" in entry, name
        assert "**Do:**" in entry, name


def test_every_alert_is_tested_by_its_own_expression() -> None:
    tried = {
        case["alertname"]
        for test in TESTS
        for case in test["alert_rule_test"]
        if case["exp_alerts"]
    }
    assert tried == {rule["alert"] for rule in RULES}


def test_the_dashboard_asks_for_metrics_that_exist() -> None:
    path = PROJECT_ROOT / "deploy" / "grafana" / "dashboards" / "flashbid.json"
    panels = json.loads(path.read_text())["panels"]
    expressions = [target["expr"] for panel in panels for target in panel["targets"]]
    assert len(expressions) >= 10
    for expression in expressions:
        assert used(expression)
        assert used(expression) <= known(), expression


def test_every_metric_is_explained() -> None:
    rows = dict(re.findall(r"^\| `(\w+)` \|.*\| (\S.*) \|$", metrics_page(), re.MULTILINE))
    names = {re.sub(r"_(bucket|count|sum)$", "", name) for name in known()}
    assert rows.keys() == {name for name in names if name.startswith("flashbid_")}
