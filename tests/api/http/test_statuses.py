"""Names of statuses are our own: Python's change with its version."""

import pytest
from flask import Flask

from web.guards.problems import (
    HEAD_TOO_LARGE,
    HTTP_PROBLEMS,
    INTERNAL_ERROR,
    OVERLOADED,
    PROBLEMS,
    REQUEST_TIMEOUT,
    UNREADABLE,
    problem_response,
)
from web.http.statuses import TITLES, title_of

ALL_PROBLEMS = {
    *PROBLEMS.values(),
    *HTTP_PROBLEMS.values(),
    *(HEAD_TOO_LARGE, INTERNAL_ERROR, OVERLOADED, REQUEST_TIMEOUT, UNREADABLE),
}


@pytest.mark.parametrize(
    ("status", "title"),
    [(413, "Content Too Large"), (414, "URI Too Long"), (422, "Unprocessable Content")],
)
def test_a_name_that_python_changed_is_that_of_the_standard(status: int, title: str) -> None:
    assert title_of(status) == title


def test_every_problem_has_a_name() -> None:
    assert {problem.status for problem in ALL_PROBLEMS} <= set(TITLES)


@pytest.mark.parametrize(("status", "title"), [(299, "OK"), (418, "Bad Request"), (700, "Error")])
def test_a_status_without_a_name_has_that_of_its_class(status: int, title: str) -> None:
    assert title_of(status) == title


def test_problems_and_document_use_these_names(app: Flask) -> None:
    for problem in ALL_PROBLEMS:
        assert TITLES[problem.status] in problem_response(problem, "1").body.decode()
    document = app.test_client().get("/openapi.json").json
    described = {
        int(status): response["description"]
        for path in document["paths"].values()
        for operation in path.values()
        for status, response in operation["responses"].items()
        if "application/problem+json" not in response.get("content", {})
    }
    assert described
    assert described == {status: TITLES[status] for status in described}
