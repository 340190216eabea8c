"""Bidders of cancelled sessions are told, and the shop's systems hear of a session once

Revision: 0012
Follows:  0011
"""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

CONTRACTS = "nothing: the check allows more, and the version before writes no events"


def upgrade() -> None:
    _allow_kinds("'session_ended', 'offer_opened', 'session_cancelled'")
    op.create_index(
        "uq_shop_events_session_once",
        "shop_events",
        ["session_id", "event"],
        unique=True,
        postgresql_where=sa.text(
            "event IN ('session.created', 'session.started', 'session.ended', 'session.cancelled')"
        ),
    )


def _allow_kinds(kinds: str) -> None:
    name = op.f("ck_notifications_kind_known")
    op.drop_constraint(name, "notifications")
    op.create_check_constraint(name, "notifications", f"kind IN ({kinds})")


def downgrade() -> None:
    op.drop_index("uq_shop_events_session_once", "shop_events")
    # The version before cannot show them.
    op.execute("""
        DELETE FROM email_deliveries USING notifications
         WHERE id = notification_id AND kind = 'session_cancelled'
    """)
    op.execute("DELETE FROM notifications WHERE kind = 'session_cancelled'")
    _allow_kinds("'session_ended', 'offer_opened'")
