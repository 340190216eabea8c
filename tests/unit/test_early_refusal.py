"""What a refusal reads from the first bytes of a request."""

import json

import pytest

from web.answers import COMMON_HEADERS
from web.early_refusal import answer, is_spared

BID = b"POST /api/bid HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nX-Request-ID: abc-1\r\n\r\n{}"


@pytest.mark.parametrize(
    ("start", "spared"),
    [
        (b"GET /health HTTP/1.1", True),
        (b"GET /metrics HTTP/1.1", True),
        (b"PUT /api/admin/sessions/x/close HTTP/1.1", True),
        (b"POST /api/bid HTTP/1.1", False),
        (b"GET /api/leaderboard/health HTTP/1.1", False),
        (b"", False),
    ],
)
def test_who_looks_after_the_service_is_spared(start: bytes, spared: bool) -> None:
    assert is_spared(start) is spared


def test_the_answer_is_a_problem_with_the_request_id_that_was_given() -> None:
    head, _, body = answer(BID, keeps_connection=True).partition(b"\r\n\r\n")
    headers = dict(line.split(": ") for line in head.decode().splitlines()[1:])
    problem = json.loads(body)
    assert head.startswith(b"HTTP/1.1 503 ")
    assert (problem["status"], problem["code"]) == (503, "overloaded")
    assert "not accepted" in problem["detail"]
    assert problem["request_id"] == headers["X-Request-ID"] == "abc-1"
    assert headers["Content-Length"] == str(len(body))
    assert headers["Connection"] == "keep-alive"
    assert int(headers["Retry-After"]) >= 1
    assert headers.items() >= COMMON_HEADERS.items()


def test_each_answer_has_an_id_of_its_own_where_none_was_given() -> None:
    answers = {answer(b"", keeps_connection=False) for _ in range(10)}
    assert len({json.loads(text.partition(b"\r\n\r\n")[2])["request_id"] for text in answers}) == 10
