"""Redis learns of accounts that are gone, and members can be erased

Revision: 0008
Follows:  0005
"""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

CONTRACTS = "nothing: the trigger writes to a table that the version before does not know"


def upgrade() -> None:
    op.add_column("users", sa.Column("erased_at", sa.DateTime(timezone=True), nullable=True))
    op.create_table(
        "deleted_accounts",
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column(
            "deleted_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.Column("settled_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("user_id", name=op.f("pk_deleted_accounts")),
    )
    op.create_index(
        "ix_deleted_accounts_unsettled",
        "deleted_accounts",
        ["deleted_at"],
        postgresql_where=sa.text("settled_at IS NULL"),
    )
    # It works for every role that may delete, whatever its search path.
    op.execute("""
        CREATE FUNCTION note_deleted_account() RETURNS trigger
        LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
        BEGIN
            INSERT INTO deleted_accounts (user_id) VALUES (OLD.id)
            ON CONFLICT (user_id) DO UPDATE SET deleted_at = now(), settled_at = NULL;
            RETURN NULL;
        END $$
    """)
    op.execute("""
        CREATE TRIGGER note_deleted_account AFTER DELETE OR UPDATE OF id ON users
        FOR EACH ROW EXECUTE FUNCTION note_deleted_account()
    """)


def downgrade() -> None:
    op.execute("DROP TRIGGER note_deleted_account ON users")
    op.execute("DROP FUNCTION note_deleted_account()")
    op.drop_index("ix_deleted_accounts_unsettled", "deleted_accounts")
    op.drop_table("deleted_accounts")
    op.drop_column("users", "erased_at")
