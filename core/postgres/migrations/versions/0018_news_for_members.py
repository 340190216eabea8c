"""News for members: reminders, being outbid, ended offers, and whether they come by e-mail

Revision: 0018
Follows:  0017
"""

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None

CONTRACTS = (
    "nothing: the check and the column allow more; the version before hides what has no session"
)
_MOMENT = sa.DateTime(timezone=True)
_KINDS_BEFORE = ("session_ended", "offer_opened", "session_cancelled")
_NEW_KINDS = ("offer_ended", "outbid", "starting", "webhook_disabled")


def upgrade() -> None:
    op.add_column(
        "users",
        sa.Column("email_news", sa.Boolean(), server_default=sa.text("false"), nullable=False),
    )
    op.alter_column("notifications", "session_id", nullable=True)
    _allow_kinds(*_KINDS_BEFORE, *_NEW_KINDS)
    op.create_table(
        "reminders",
        sa.Column("session_id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("told_at", _MOMENT, nullable=True),
        sa.ForeignKeyConstraint(
            ["session_id"], ["sessions.id"], name=op.f("fk_reminders_session_id")
        ),
        sa.ForeignKeyConstraint(
            ["user_id"], ["users.id"], name=op.f("fk_reminders_user_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("session_id", "user_id", name=op.f("pk_reminders")),
    )
    op.create_index("ix_reminders_user_id", "reminders", ["user_id"])
    op.create_table(
        "winners_marks",
        sa.Column("session_id", sa.Uuid(), nullable=False),
        sa.Column("sequence", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("last_score", sa.Double(), nullable=True),
        sa.Column("last_member", sa.String(52), nullable=True),
        sa.ForeignKeyConstraint(
            ["session_id"], ["sessions.id"], name=op.f("fk_winners_marks_session_id")
        ),
        sa.PrimaryKeyConstraint("session_id", name=op.f("pk_winners_marks")),
    )


def _allow_kinds(*kinds: str) -> None:
    name = op.f("ck_notifications_kind_known")
    op.drop_constraint(name, "notifications")
    listed = ", ".join(f"'{kind}'" for kind in kinds)
    op.create_check_constraint(name, "notifications", f"kind IN ({listed})")


def downgrade() -> None:
    op.drop_table("winners_marks")
    op.drop_table("reminders")
    # The version before cannot show them.
    kinds = sa.bindparam("kinds", list(_NEW_KINDS), type_=sa.ARRAY(sa.String))
    op.execute(
        sa.text("""
            DELETE FROM email_deliveries USING notifications
             WHERE id = notification_id AND kind = ANY(:kinds)
        """).bindparams(kinds)
    )
    op.execute(sa.text("DELETE FROM notifications WHERE kind = ANY(:kinds)").bindparams(kinds))
    _allow_kinds(*_KINDS_BEFORE)
    op.alter_column("notifications", "session_id", nullable=False)
    op.drop_column("users", "email_news")
