"""For those who run the service."""

from flask import Blueprint

from core.operations import health
from core.operations.health import Health, Readiness
from web.guards.operation import operation
from web.guards.rate_limits import Limit
from web.guards.tokens import Auth
from web.http import schemas
from web.state import services

blueprint = Blueprint("service", __name__)


@blueprint.get("/health")
@operation(auth=Auth.PUBLIC, answer=schemas.Health(), also=(503,), limit=Limit.NONE)
def show_health() -> tuple[Health, int]:
    """Whether PostgreSQL and Redis answer; 503 when one does not."""
    found = health.check(services().engine, services().redis, services().backlog)
    return found, 200 if found.is_healthy else 503


@blueprint.get("/ready")
@operation(auth=Auth.PUBLIC, answer=schemas.Readiness(), also=(503,), limit=Limit.NONE)
def show_readiness() -> tuple[Readiness, int]:
    """Whether a balancer should send bids here; 503 when not. PostgreSQL may be away meanwhile."""
    found = health.check_readiness(services().redis, services().bidding, services().backlog)
    return found, 200 if found.is_ready else 503
