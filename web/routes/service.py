"""Health and readiness checks."""

from flask import Blueprint

from core.operations import health
from core.operations.health import Health
from web.guards.operation import operation
from web.guards.rate_limits import Limit
from web.guards.tokens import Auth
from web.http import schemas
from web.state import services

blueprint = Blueprint("service", __name__)


@blueprint.get("/health")
@operation(auth=Auth.PUBLIC, response=schemas.Health(), also_statuses=(503,), limit=Limit.NONE)
def show_health() -> tuple[Health, int]:
    """Check PostgreSQL and Redis; 503 when one does not do all its work."""
    found = health.check(
        services().engine, services().redis, services().bidding, services().backlog
    )
    return found, 200 if found.is_healthy else 503


@blueprint.get("/ready")
@operation(auth=Auth.PUBLIC, response=schemas.Readiness(), limit=Limit.NONE)
def show_readiness() -> dict[str, str]:
    """Check if this process serves requests, for load balancers. Asks no other server."""
    return {"status": "ready"}
