"""A standing price can only be raised, unless the session says otherwise

Revision: 0007
Follows:  0005
"""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

CONTRACTS = "nothing: the UPDATE corrects results that the version before only reads"


def upgrade() -> None:
    # True: sessions of the version before allow it, also those that it still creates.
    op.add_column(
        "sessions",
        sa.Column("allow_lower_bids", sa.Boolean(), server_default=sa.text("true"), nullable=False),
    )
    # It kept the highest price that was accepted, even if that no longer stood.
    op.execute(
        """
        UPDATE sessions
           SET highest_bid = standing.price
          FROM (SELECT session_id, max(price) AS price FROM rankings GROUP BY session_id) standing
         WHERE standing.session_id = sessions.id AND sessions.status = 'ended'
           AND sessions.highest_bid IS DISTINCT FROM standing.price
        """
    )


def downgrade() -> None:
    op.drop_column("sessions", "allow_lower_bids")
