"""Reminders of sessions, and which news comes by e-mail."""

from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from core.redis import clock
from core.sessions.sessions import SessionView
from tests.api.conftest import CheckedClient
from tests.support.factories import Shop


def upcoming(shop: Shop, minutes: int = 60) -> SessionView:
    return shop.session(start_time=clock.now(shop.services.redis) + timedelta(minutes=minutes))


def path(session: SessionView) -> str:
    return f"/api/sessions/{session.session_id}/reminder"


def test_reminders_are_set_and_removed_and_both_can_be_repeated(
    member: CheckedClient, shop: Shop
) -> None:
    later, sooner = upcoming(shop, 90), upcoming(shop, 30)
    for session in (later, sooner, later):
        assert member.put(path(session)).status_code == 204
    answer = member.get("/api/reminders")
    assert answer.headers["X-Total-Count"] == "2"
    assert answer.json == [
        {
            "session_id": str(session.session_id),
            "start_time": session.start_time.isoformat(),
            "name": "Item",
        }
        for session in (sooner, later)
    ]
    assert [member.delete(path(later)).status_code for _ in range(2)] == [204, 204]
    assert [each["session_id"] for each in member.get("/api/reminders").json] == [
        str(sooner.session_id)
    ]


def test_reminders_are_the_members_own(
    admin: CheckedClient, member: CheckedClient, shop: Shop
) -> None:
    session = upcoming(shop)
    admin.put(path(session))
    member.delete(path(session))
    assert member.get("/api/reminders").json == []
    assert len(admin.get("/api/reminders").json) == 1


@pytest.mark.parametrize(
    ("session_id", "code"), [(str(UUID(int=7)), "session_not_found"), ("x", "session_not_found")]
)
def test_an_unknown_session_is_not_found(member: CheckedClient, session_id: str, code: str) -> None:
    for send in (member.put, member.delete):
        answer = send(f"/api/sessions/{session_id}/reminder")
        assert (answer.status_code, answer.json["code"]) == (404, code)


def test_a_session_that_has_started_is_refused(member: CheckedClient, shop: Shop) -> None:
    answer = member.put(path(shop.session()))
    assert (answer.status_code, answer.json["code"]) == (409, "session_already_started")


def test_without_a_token_nobody_is_reminded(anyone: CheckedClient, shop: Shop) -> None:
    session = upcoming(shop)
    for answer in (
        anyone.put(path(session)),
        anyone.delete(path(session)),
        anyone.get("/api/reminders"),
        anyone.patch("/api/auth/me", json={"email_news": True}),
    ):
        assert (answer.status_code, answer.json["code"]) == (401, "token_missing")


def test_news_comes_by_email_only_to_who_switches_it_on(
    admin: CheckedClient, member: CheckedClient
) -> None:
    assert member.get("/api/auth/me").json["email_news"] is False
    for wanted in (True, True, False):
        answer = member.patch("/api/auth/me", json={"email_news": wanted})
        assert (answer.status_code, answer.json["email_news"]) == (200, wanted)
        assert member.get("/api/auth/me").json == answer.json
    assert admin.get("/api/auth/me").json["email_news"] is False


@pytest.mark.parametrize("body", [{}, {"email_news": None}, {"email_news": "true"}, []])
def test_news_is_switched_by_true_or_false(member: CheckedClient, body: Any) -> None:
    answer = member.patch("/api/auth/me", json=body)
    assert (answer.status_code, answer.json["code"]) == (422, "validation_failed")


def test_an_account_changes_nothing_but_its_news(member: CheckedClient) -> None:
    before = member.get("/api/auth/me").json
    changes = {"email_news": True, "is_admin": True, "weight": 5, "username": "root"}
    assert member.patch("/api/auth/me", json=changes).json == before | {"email_news": True}
