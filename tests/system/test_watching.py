"""What operators see of the real processes: their metrics, their log lines, and no secret."""

import json
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from functools import partial
from typing import Any
from urllib.request import Request, urlopen
from uuid import uuid4

import pytest
from celery import Celery

from core.config import Settings
from core.telemetry.metric_files import ROLES
from dev.stack import Stack, wait_until
from tests.support.http.client import Client, final_results, scrape
from tests.support.leaks import assert_stack_quiet
from worker import queues

PASSWORD = "hunter2-of-the-log-test"
WORKERS = ("closer", "helper")
TIMEOUT_SECONDS = 60


def samples(text: str, name: str, *labels: str) -> list[float]:
    lines = [line for line in text.splitlines() if re.match(rf"{name}[{{ ]", line)]
    return [
        float(line.rpartition(" ")[2]) for line in lines if all(label in line for label in labels)
    ]


def value(text: str, name: str, *labels: str) -> float:
    return sum(samples(text, name, *labels))


def rise(before: str, after: str, name: str, labels: Sequence[str]) -> float:
    """By how much a count has risen, without those of ended processes, which disappear."""

    def counts(text: str) -> dict[str, float]:
        found = re.findall(rf"^({name}{{.*}}) (\S+)$", text, re.MULTILINE)
        return {whose: float(n) for whose, n in found if all(label in whose for label in labels)}

    earlier = counts(before)
    return sum(count - earlier.get(whose, 0) for whose, count in counts(after).items())


def log_lines(stack: Stack, name: str) -> Iterator[dict[str, Any]]:
    for line in stack[name].log.read_text().splitlines():
        if line.startswith("{"):
            yield json.loads(line)


def test_every_kind_of_process_is_counted(stack: Stack) -> None:
    def all_shown() -> bool:
        text = scrape(stack.port)
        return all(value(text, "flashbid_processes", f'role="{role}"') >= 1 for role in ROLES)

    assert wait_until(all_shown, TIMEOUT_SECONDS), scrape(stack.port)


def routes(document: dict[str, Any]) -> Iterator[str]:
    for path, operations in document["paths"].items():
        for method in operations:
            yield f"{method.upper()} {path.replace('{', '<').replace('}', '>')}"


def test_what_alerts_wait_for_is_shown_before_it_happens(stack: Stack, client: Client) -> None:
    """Prometheus sees nothing rise in a series that begins at 1."""
    text = scrape(stack.port)
    for route in routes(client.get("/openapi.json").json):
        assert samples(text, "flashbid_http_requests_total", f'route="{route}"', 'status="500"')
    for task, queue in {**queues.ROUTES, "worker.tasks.tell_members": queues.DEFAULT}.items():
        labels = (f'role="{queue}"', f'task="{task.rpartition(".")[2]}"', 'outcome="failure"')
        assert samples(text, "flashbid_jobs_total", *labels), labels
    assert samples(text, "flashbid_notifications_total", 'channel="email"', 'outcome="unreachable"')


def test_a_job_that_failed_for_good_is_counted(stack: Stack, settings: Settings) -> None:
    labels = ('role="bids"', 'task="persist_bids"', 'outcome="failure"')
    failed = partial(rise, scrape(stack.port), name="flashbid_jobs_total", labels=labels)
    with Celery(broker=settings.broker_url) as sender:
        sender.send_task("worker.tasks.persist_bids", ["no session"], queue=queues.BIDS)
    assert wait_until(lambda: failed(scrape(stack.port)) == 1, TIMEOUT_SECONDS)


def test_work_of_the_other_processes_moves_their_metrics(
    stack: Stack, admin: Client, new_session: Callable[..., dict[str, Any]]
) -> None:
    session_id = new_session()["session_id"]
    before = scrape(stack.port)
    assert admin.bid(session_id, 150).status == 200
    admin.put(f"/api/admin/sessions/{session_id}/close")
    final_results(admin, session_id)

    def moved(name: str, labels: Sequence[str]) -> Callable[[], bool]:
        return lambda: rise(before, scrape(stack.port), name, labels) > 0

    for name, *labels in (
        ("flashbid_bids_total", 'role="web"', 'outcome="accepted"'),
        ("flashbid_bids_persisted_total", 'role="'),
        ("flashbid_close_lag_seconds_count", 'role="sessions"'),
        ("flashbid_jobs_total", 'role="sessions"', 'task="close_session"', 'outcome="success"'),
        ("flashbid_job_seconds_count", 'role="bids"'),
        ("flashbid_jobs_sent_total", 'role="beat"', 'task="tick_sessions"'),
        ("flashbid_notifications_total", 'role="default"', 'channel="in_app"'),
    ):
        assert wait_until(moved(name, labels), TIMEOUT_SECONDS), (name, labels)


def test_a_requests_id_is_in_the_lines_of_its_jobs(
    stack: Stack, admin: Client, new_session: Callable[..., dict[str, Any]]
) -> None:
    def closed_under_an_id_of_its_own() -> tuple[str, str]:
        session_id, name = new_session()["session_id"], f"trace-{uuid4().hex}"
        headers = {"Authorization": f"Bearer {admin.token}", "X-Request-ID": name}
        path = f"/api/admin/sessions/{session_id}/close"
        request = Request(f"http://127.0.0.1:{stack.port}{path}", method="PUT", headers=headers)
        with urlopen(request, timeout=TIMEOUT_SECONDS) as answer:  # noqa: S310 - our own
            assert answer.headers["X-Request-ID"] == name
        final_results(admin, session_id)
        return session_id, name

    def lines(process: str, event: str, **fields: str) -> list[dict[str, Any]]:
        expected = {"event": event, **fields}.items()
        return [line for line in log_lines(stack, process) if expected <= line.items()]

    # Beat's tick may find an ended session first, and then its job closes it.
    for _ in range(5):
        session_id, name = closed_under_an_id_of_its_own()
        closed = partial(lines, "closer", "session_closed", session_id=session_id)
        assert wait_until(lambda: bool(closed()), TIMEOUT_SECONDS)  # noqa: B023 - called here
        if closed(request_id=name):
            break
    assert closed(request_id=name)
    assert lines("web", "request", request_id=name)
    # Enqueued by that job in its turn.
    assert wait_until(
        lambda: bool(lines("helper", "members_told", request_id=name)), TIMEOUT_SECONDS
    )


def test_every_line_of_the_web_process_is_one_json_object(stack: Stack) -> None:
    text = stack["web"].log.read_text()
    # What another test's process wrote with DEBUG on is for people.
    lines = text[text.rindex("{", 0, text.rindex("Starting gunicorn")) :].splitlines()
    assert lines
    for line in lines:
        assert {"event", "level", "timestamp"} <= json.loads(line).keys()


@pytest.fixture
def secrets_sent(stack: Stack, admin: Client) -> list[str]:
    """Does with secrets whatever clients do with them; what must be in no log."""
    name = f"m{uuid4().hex[:12]}"
    email, sent = f"{name}@secret.example", [PASSWORD, f"{name}@secret.example"]
    with closing(Client(stack.port)) as member:
        account = {"username": name, "email": email, "password": PASSWORD}
        answers = [
            member.post("/api/auth/register", **account),
            member.post("/api/auth/register", **{**account, "username": f"{name}x"}),
            member.post("/api/auth/login", username=name, password=PASSWORD),
            member.post("/api/auth/login", username=name, password=f"{PASSWORD}!"),
        ]
        assert [answer.status for answer in answers] == [201, 409, 200, 401]
        member.token = answers[2].json["token"]
        sent += [member.token, answers[0].json["token"]]
        member.get("/api/auth/me")
        member.get(f"/api/sessions?token={member.token}&email={email}")
        member.get(f"/{member.token}")
        member.post("/api/bid", session_id=str(uuid4()), price=150, note=PASSWORD)
        member.post("/api/auth/logout")
        assert member.get("/api/auth/me").status == 401
    admin.get("/api/admin/stats")
    assert admin.token
    return [*sent, admin.token]


def test_no_log_holds_a_token_a_password_or_an_address(
    stack: Stack, secrets_sent: list[str]
) -> None:
    """Whatever the tests before this one did is in these logs, too."""
    _assert_clean(stack, secrets_sent)


def test_nor_does_any_with_debug_on(stack: Stack, request: pytest.FixtureRequest) -> None:
    with stack.with_settings(["web", *WORKERS], {"DEBUG": "true"}):
        _assert_clean(stack, request.getfixturevalue("secrets_sent"))


def _assert_clean(stack: Stack, secrets: list[str]) -> None:
    assert wait_until(
        lambda: stack.count_log_lines("web", "/api/auth/logout") >= 1, TIMEOUT_SECONDS
    )
    for name in stack.processes:
        text = stack[name].log.read_text()
        for secret in secrets:
            assert secret not in text, name
    assert_stack_quiet(stack)
