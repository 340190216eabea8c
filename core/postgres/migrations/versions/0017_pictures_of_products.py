"""Pictures of products

Revision: 0017
Follows:  0016
"""

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("products", sa.Column("image_url", sa.String(2000), nullable=True))


def downgrade() -> None:
    op.drop_column("products", "image_url")
