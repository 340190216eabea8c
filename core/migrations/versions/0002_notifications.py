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


def downgrade() -> None:
    op.drop_index("ix_notifications_member", table_name="notifications")
    op.drop_table("notifications")
    op.drop_index(
        "ix_announcements_unfinished",
        table_name="announcements",
        postgresql_where=sa.text("finished_at IS NULL"),
    )
    op.drop_table("announcements")
