"""Webhook endpoints as rows, and one delivery for each event and endpoint

Revision: 0014
Follows:  0013
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import ARRAY

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None

CONTRACTS = (
    "nothing: what the version before writes has no event, and the fan-out adds it; but its"
    " notifier knows one endpoint, so add others once it is replaced"
)

_MOMENT = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "webhook_endpoints",
        sa.Column("id", sa.Uuid(), server_default=sa.text("gen_random_uuid()"), nullable=False),
        sa.Column("url", sa.String(2000), nullable=True),
        sa.Column("events", ARRAY(sa.String(50)), nullable=False),
        sa.Column("secret", sa.String(100), nullable=True),
        sa.Column("previous_secret", sa.String(100), nullable=True),
        sa.Column("previous_secret_until", _MOMENT, nullable=True),
        sa.Column("state", sa.String(8), server_default=sa.text("'enabled'"), nullable=False),
        sa.Column("state_reason", sa.String(100), nullable=True),
        sa.Column("state_since", _MOMENT, server_default=sa.text("now()"), nullable=False),
        sa.Column("failing_since", _MOMENT, nullable=True),
        sa.Column("created_at", _MOMENT, server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint(
            "state IN ('enabled', 'paused', 'disabled')",
            name=op.f("ck_webhook_endpoints_state_known"),
        ),
        sa.CheckConstraint(
            "(url IS NULL) = (secret IS NULL)", name=op.f("ck_webhook_endpoints_url_has_secret")
        ),
        sa.CheckConstraint(
            "(previous_secret IS NULL) = (previous_secret_until IS NULL)",
            name=op.f("ck_webhook_endpoints_previous_secret_ends"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_webhook_endpoints")),
    )
    op.alter_column("shop_events", "session_id", nullable=True)
    op.create_index(op.f("ix_shop_events_session_id"), "shop_events", ["session_id"])
    _deliveries()


def _deliveries() -> None:
    op.alter_column("webhook_deliveries", "session_id", nullable=True)
    for name in ("event_id", "endpoint_id"):
        op.add_column("webhook_deliveries", sa.Column(name, sa.Uuid(), nullable=True))
    op.create_foreign_key(
        op.f("fk_webhook_deliveries_event_id"),
        "webhook_deliveries",
        "shop_events",
        ["event_id"],
        ["id"],
    )
    op.create_foreign_key(
        op.f("fk_webhook_deliveries_endpoint_id"),
        "webhook_deliveries",
        "webhook_endpoints",
        ["endpoint_id"],
        ["id"],
        ondelete="CASCADE",
    )
    op.drop_constraint(op.f("uq_webhook_deliveries_session_id_event"), "webhook_deliveries")
    op.create_unique_constraint(
        op.f("uq_webhook_deliveries_event_id_endpoint_id"),
        "webhook_deliveries",
        ["event_id", "endpoint_id"],
    )
    op.create_check_constraint(
        op.f("ck_webhook_deliveries_event_has_endpoint"),
        "webhook_deliveries",
        "(event_id IS NULL) = (endpoint_id IS NULL)",
    )
    op.drop_index("ix_webhook_deliveries_waiting", "webhook_deliveries")
    op.create_index(
        "ix_webhook_deliveries_waiting",
        "webhook_deliveries",
        ["endpoint_id", "next_attempt_at"],
        postgresql_where=sa.text("next_attempt_at IS NOT NULL"),
    )


def downgrade() -> None:
    # The version before knows one endpoint, that of the settings, and one event.
    op.execute("""
        DELETE FROM webhook_deliveries
         WHERE event <> 'session.ended'
            OR endpoint_id <> '00000000-0000-0000-0000-000000000000'
    """)
    op.drop_index("ix_webhook_deliveries_waiting", "webhook_deliveries")
    op.drop_constraint(op.f("ck_webhook_deliveries_event_has_endpoint"), "webhook_deliveries")
    op.drop_constraint(op.f("uq_webhook_deliveries_event_id_endpoint_id"), "webhook_deliveries")
    for name in ("event_id", "endpoint_id"):
        op.drop_constraint(op.f(f"fk_webhook_deliveries_{name}"), "webhook_deliveries")
        op.drop_column("webhook_deliveries", name)
    op.alter_column("webhook_deliveries", "session_id", nullable=False)
    op.create_unique_constraint(
        op.f("uq_webhook_deliveries_session_id_event"),
        "webhook_deliveries",
        ["session_id", "event"],
    )
    op.create_index(
        "ix_webhook_deliveries_waiting",
        "webhook_deliveries",
        ["next_attempt_at"],
        postgresql_where=sa.text("next_attempt_at IS NOT NULL"),
    )
    op.drop_index(op.f("ix_shop_events_session_id"), "shop_events")
    op.execute("DELETE FROM shop_events WHERE session_id IS NULL")
    op.alter_column("shop_events", "session_id", nullable=False)
    op.drop_table("webhook_endpoints")
