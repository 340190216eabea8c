"""A recomputation of weights that was lost is found again

Revision: 0005
Follows:  0004
"""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

CONTRACTS = "nothing: the UPDATE fills the new column, which the version before does not know"


def upgrade() -> None:
    op.add_column("sessions", sa.Column("weighed_at", sa.DateTime(timezone=True), nullable=True))
    op.execute("UPDATE sessions SET weighed_at = published_at")
    op.create_index(
        "ix_sessions_to_weigh",
        "sessions",
        ["published_at"],
        postgresql_where=sa.text("weighed_at IS NULL"),
    )


def downgrade() -> None:
    op.drop_index("ix_sessions_to_weigh", "sessions")
    op.drop_column("sessions", "weighed_at")
