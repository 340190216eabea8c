"""/metrics: who may read it."""

from dataclasses import replace

import pytest
from flask import Flask

from core.bootstrap import Services
from tests.api.conftest import CheckedClient
from tests.support.http.client import SCRAPER, TEST_METRICS_TOKEN
from web import create_app

ELSEWHERE = "203.0.113.7"


def status(app: Flask, header: str = "", remote: str = "127.0.0.1") -> int:
    headers = {"Authorization": header} if header else {}
    environ = {"REMOTE_ADDR": remote}
    return app.test_client().get("/metrics", headers=headers, environ_overrides=environ).status_code


def with_metrics_token(services: Services, token: str) -> Flask:
    settings = replace(services.settings, metrics_token=token)
    return create_app(services=replace(services, settings=settings))


@pytest.mark.parametrize("token", ["", TEST_METRICS_TOKEN])
@pytest.mark.parametrize(
    "remote", ["127.0.0.1", "127.8.8.8", "::1", "::ffff:127.0.0.1", "", ELSEWHERE]
)
def test_an_address_alone_opens_nothing(services: Services, token: str, remote: str) -> None:
    """A proxy on this machine that adds no header looks like a process of this machine."""
    app = with_metrics_token(services, token)
    assert status(app, remote=remote) == 401
    for header in ("Bearer ", "Bearer another", "Basic Og==", "Bearer None"):
        assert status(app, header, remote) == 401


def test_with_a_token_set_its_bearer_may_read(services: Services) -> None:
    app = with_metrics_token(services, TEST_METRICS_TOKEN)
    assert status(app, SCRAPER["Authorization"], ELSEWHERE) == 200
    assert status(with_metrics_token(services, ""), SCRAPER["Authorization"]) == 401


@pytest.mark.parametrize("metrics_token", ["", TEST_METRICS_TOKEN])
def test_an_admin_may_read_and_a_member_may_not(
    admin: CheckedClient, member: CheckedClient, services: Services, metrics_token: str
) -> None:
    app = with_metrics_token(services, metrics_token)
    tokens = [client.environ_base["HTTP_AUTHORIZATION"] for client in (admin, member)]
    assert [status(app, token, ELSEWHERE) for token in tokens] == [200, 403]
