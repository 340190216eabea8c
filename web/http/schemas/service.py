"""The service itself, and its errors."""

from marshmallow import Schema, fields, validate

from core.operations.admin_log import ActionOutcome
from core.operations.health import DATABASE_STATES, REDIS_STATES
from web.http.fields import (
    Identifier,
    Integer,
    Moment,
    Number,
    Price,
    Text,
)


class SessionStats(Schema):
    bids_accepted = Integer(required=True)
    bids_persisted = Integer(required=True)
    persist_backlog = Integer(
        required=True, metadata={"description": "Accepted bids not yet in PostgreSQL."}
    )


class Stats(SessionStats):
    total_users = Integer(required=True)
    total_products = Integer(required=True)
    active_sessions = Integer(required=True)
    total_bids = Integer(required=True)
    sessions = fields.Dict(
        keys=fields.String(),
        values=Integer(),
        required=True,
        metadata={"description": "Number of sessions by status."},
    )


class AdminAction(Schema):
    action_id = Integer(required=True, attribute="id")
    created_at = Moment(required=True)
    actor = Text(required=True)
    actor_id = Identifier(
        required=True, allow_none=True, metadata={"description": "Null for the command line."}
    )
    action = fields.String(required=True)
    details = fields.Dict(required=True, metadata={"description": "Arguments and created ids."})
    outcome = fields.String(
        required=True,
        validate=validate.OneOf([done.value for done in ActionOutcome]),
        metadata={"description": "`asked`: the process ended before the outcome was recorded."},
    )


class RedisNode(Schema):
    version = fields.String(required=True)
    maxmemory_policy = fields.String(
        required=True,
        allow_none=True,
        metadata={"description": "`noeviction`: with its memory full, Redis deletes no bids."},
    )
    appendonly = fields.Boolean(required=True)
    appendfsync = fields.String(
        required=True,
        allow_none=True,
        metadata={"description": "Null if the server does not say."},
    )
    can_append = fields.Boolean(
        required=True, metadata={"description": "Whether the last write of its file succeeded."}
    )


class Configuration(Schema):
    versions = fields.Dict(
        keys=fields.String(),
        values=fields.String(),
        required=True,
        metadata={"description": "By program: flashbid, python, postgresql, redis."},
    )
    redis = fields.Nested(
        RedisNode,
        many=True,
        required=True,
        metadata={"description": "How Redis keeps bids; of a cluster, each set-up once."},
    )
    findings = fields.List(
        fields.String(),
        required=True,
        metadata={"description": "How Redis may lose bids, in sentences."},
    )
    confirming_replicas = Integer(
        required=True, metadata={"description": "Replicas that must confirm a bid."}
    )
    channels = fields.Dict(
        keys=fields.String(),
        values=fields.Boolean(),
        required=True,
        metadata={"description": "Whether `email` and `webhook` are on."},
    )
    settings = fields.Dict(
        keys=fields.String(), required=True, metadata={"description": "By name, as in effect."}
    )


class Health(Schema):
    status = fields.String(required=True, validate=validate.OneOf(["healthy", "degraded"]))
    database = fields.String(required=True, validate=validate.OneOf(DATABASE_STATES))
    redis = fields.String(required=True, validate=validate.OneOf(REDIS_STATES))
    persist_backlog = fields.String(
        required=True, validate=validate.OneOf(["ok", "half_full", "full", "unknown"])
    )


class Readiness(Schema):
    status = fields.String(required=True, validate=validate.OneOf(["ready"]))


class Problem(Schema):
    """An error (RFC 9457)."""

    type = fields.String(required=True)
    title = fields.String(required=True)
    status = Integer(required=True)
    detail = fields.String(required=True, metadata={"description": "Explanation for people."})
    code = fields.String(
        required=True, metadata={"description": "Stable error code for programs to branch on."}
    )
    request_id = fields.String(required=True)
    errors = fields.Dict(metadata={"description": "For validation_failed: messages by field."})
    upset_price = Price(metadata={"description": "For price_below_upset: the starting price."})
    standing_price = Price(
        metadata={"description": "For price_below_standing: the price that can only be raised."}
    )
    scope = fields.String(
        metadata={"description": "For scope_missing: the scope that the API key lacks."}
    )
    score = Number(metadata={"description": "For score_would_drop: the score of this bid now."})
    standing_score = Number(
        metadata={"description": "For score_would_drop: the score of your standing bid."}
    )
    version = Integer(metadata={"description": "For version_conflict: the current version."})
