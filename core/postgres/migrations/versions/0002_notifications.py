"""Notifications

Revision: 0002
Follows:  0001
"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "announcements",
        sa.Column("session_id", sa.Uuid(), nullable=False),
        sa.Column("told_through_rank", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "told_through_rank >= 0", name=op.f("ck_announcements_rank_not_negative")
        ),
        sa.ForeignKeyConstraint(
            ["session_id"], ["sessions.id"], name=op.f("fk_announcements_session_id")
        ),
        sa.PrimaryKeyConstraint("session_id", name=op.f("pk_announcements")),
    )
    op.create_index(
        "ix_announcements_unfinished",
        "announcements",
        ["created_at"],
        unique=False,
        postgresql_where=sa.text("finished_at IS NULL"),
    )
    op.create_table(
        "notifications",
        sa.Column("id", sa.Uuid(), server_default=sa.text("gen_random_uuid()"), nullable=False),
        sa.Column("session_id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.String(length=20), nullable=False),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.Column("read_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("kind IN ('session_ended')", name=op.f("ck_notifications_kind_known")),
        sa.ForeignKeyConstraint(
            ["session_id"], ["sessions.id"], name=op.f("fk_notifications_session_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_notifications")),
        sa.UniqueConstraint(
            "session_id",
            "user_id",
            "kind",
            name=op.f("uq_notifications_session_id_user_id_kind"),
        ),
    )
    op.create_index(
        "ix_notifications_member",
        "notifications",
        ["user_id", sa.literal_column("created_at DESC")],
        unique=False,
    )
    op.create_table(
        "email_deliveries",
        sa.Column("notification_id", sa.Uuid(), nullable=False),
        *_delivery_columns(),
        sa.CheckConstraint(
            "next_attempt_at IS NULL OR delivered_at IS NULL",
            name=op.f("ck_email_deliveries_settled_once"),
        ),
        sa.ForeignKeyConstraint(
            ["notification_id"],
            ["notifications.id"],
            name=op.f("fk_email_deliveries_notification_id"),
        ),
        sa.PrimaryKeyConstraint("notification_id", name=op.f("pk_email_deliveries")),
    )
    op.create_index(
        "ix_email_deliveries_waiting",
        "email_deliveries",
        ["next_attempt_at"],
        unique=False,
        postgresql_where=sa.text("next_attempt_at IS NOT NULL"),
    )
    op.create_table(
        "webhook_deliveries",
        sa.Column("id", sa.Uuid(), server_default=sa.text("gen_random_uuid()"), nullable=False),
        sa.Column("session_id", sa.Uuid(), nullable=False),
        sa.Column("event", sa.String(length=50), nullable=False),
        *_delivery_columns(),
        sa.CheckConstraint(
            "next_attempt_at IS NULL OR delivered_at IS NULL",
            name=op.f("ck_webhook_deliveries_settled_once"),
        ),
        sa.ForeignKeyConstraint(
            ["session_id"], ["sessions.id"], name=op.f("fk_webhook_deliveries_session_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_webhook_deliveries")),
        sa.UniqueConstraint(
            "session_id", "event", name=op.f("uq_webhook_deliveries_session_id_event")
        ),
    )
    op.create_index(
        "ix_webhook_deliveries_waiting",
        "webhook_deliveries",
        ["next_attempt_at"],
        unique=False,
        postgresql_where=sa.text("next_attempt_at IS NOT NULL"),
    )


def _delivery_columns() -> list[sa.Column]:
    moment = sa.DateTime(timezone=True)
    return [
        sa.Column("attempts", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("created_at", moment, server_default=sa.text("now()"), nullable=False),
        sa.Column("next_attempt_at", moment, server_default=sa.text("now()"), nullable=True),
        sa.Column("delivered_at", moment, nullable=True),
        sa.Column("last_error", sa.String(length=100), nullable=True),
    ]


def downgrade() -> None:
    for table in ("webhook_deliveries", "email_deliveries"):
        op.drop_index(
            f"ix_{table}_waiting",
            table_name=table,
            postgresql_where=sa.text("next_attempt_at IS NOT NULL"),
        )
        op.drop_table(table)
    op.drop_index("ix_notifications_member", table_name="notifications")
    op.drop_table("notifications")
    op.drop_index(
        "ix_announcements_unfinished",
        table_name="announcements",
        postgresql_where=sa.text("finished_at IS NULL"),
    )
    op.drop_table("announcements")
