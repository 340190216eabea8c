"""Health and readiness checks."""

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
@operation(auth=Auth.PUBLIC, response=schemas.Health(), also_statuses=(503,), limit=Limit.NONE)
def show_health() -> tuple[Health, int]:
    """Check PostgreSQL and Redis; 503 when one is unreachable."""
    found = health.check(services().engine, services().redis, services().backlog)
    return found, 200 if found.is_healthy else 503


@blueprint.get("/ready")
@operation(auth=Auth.PUBLIC, response=schemas.Readiness(), also_statuses=(503,), limit=Limit.NONE)
def show_readiness() -> tuple[Readiness, int]:
    """Check if bids can be accepted, for load balancers; 503 if not. Works without PostgreSQL."""
    found = health.check_readiness(services().redis, services().bidding, services().backlog)
    return found, 200 if found.is_ready else 503
