"""What Redis lost is noticed and recorded

Revision: 0003
Follows:  0002
"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        "bid_log_offsets",
        sa.Column(
            "skipped_sequences", sa.BigInteger(), server_default=sa.text("0"), nullable=False
        ),
    )
    op.add_column(
        "bid_log_offsets", sa.Column("loaded_at", sa.DateTime(timezone=True), nullable=True)
    )


def downgrade() -> None:
    op.drop_column("bid_log_offsets", "loaded_at")
    op.drop_column("bid_log_offsets", "skipped_sequences")
