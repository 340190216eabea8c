"""For those who run the service."""

from flask import Blueprint

from core import health
from core.health import Health
from web import schemas
from web.limiting import Limit
from web.operation import operation
from web.state import services
from web.tokens import Auth

blueprint = Blueprint("service", __name__)


@blueprint.get("/health")
@operation(auth=Auth.PUBLIC, answer=schemas.Health(), also=(503,), limit=Limit.NONE)
def show_health() -> tuple[Health, int]:
    """Whether PostgreSQL and Redis answer; 503 when one does not."""
    return _checked()


@blueprint.get("/ready")
@operation(auth=Auth.PUBLIC, answer=schemas.Health(), also=(503,), limit=Limit.NONE)
def show_readiness() -> tuple[Health, int]:
    """Whether a balancer should send requests here; 503 when not."""
    return _checked()


def _checked() -> tuple[Health, int]:
    found = health.check(services().engine, services().redis, services().backlog)
    return found, 200 if found.is_healthy else 503
