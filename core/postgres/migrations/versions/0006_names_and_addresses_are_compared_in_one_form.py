"""Names and addresses are compared in one form

Revision: 0006
Follows:  0005
"""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

CONTRACTS = (
    "nothing: the version before does not write the new columns, and null is no twin of null"
)


def upgrade() -> None:
    # They are filled after the migrations (core/postgres/keys.py): the table would be locked for
    # as long as that takes.
    for column in ("username_key", "email_key"):
        op.add_column("users", sa.Column(column, sa.Text(), nullable=True))
        op.create_index(f"uq_users_{column}", "users", [column], unique=True)


def downgrade() -> None:
    for column in ("email_key", "username_key"):
        op.drop_index(f"uq_users_{column}", "users")
        op.drop_column("users", column)
