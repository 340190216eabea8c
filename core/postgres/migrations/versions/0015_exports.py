"""Exports: files of results, bids and offers

Revision: 0015
Follows:  0014
"""

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None

_MOMENT = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "exports",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("session_id", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.String(7), nullable=False),
        sa.Column("file_format", sa.String(6), nullable=False),
        sa.Column("state", sa.String(7), server_default=sa.text("'waiting'"), nullable=False),
        sa.Column("requested_by", sa.Uuid(), nullable=False),
        sa.Column("attempts", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column(
            "created_at", _MOMENT, server_default=sa.text("clock_timestamp()"), nullable=False
        ),
        sa.Column("finished_at", _MOMENT, nullable=True),
        sa.Column("expires_at", _MOMENT, nullable=False),
        sa.Column("file_name", sa.String(80), nullable=True),
        sa.Column("row_count", sa.BigInteger(), nullable=True),
        sa.Column("size_bytes", sa.BigInteger(), nullable=True),
        sa.Column("sha256", sa.String(64), nullable=True),
        sa.Column("error", sa.String(200), nullable=True),
        sa.CheckConstraint(
            "kind IN ('results', 'bids', 'offers')", name=op.f("ck_exports_kind_known")
        ),
        sa.CheckConstraint(
            "file_format IN ('csv', 'ndjson')", name=op.f("ck_exports_file_format_known")
        ),
        sa.CheckConstraint(
            "state IN ('waiting', 'running', 'done', 'failed')",
            name=op.f("ck_exports_state_known"),
        ),
        sa.CheckConstraint(
            "(state = 'done') = (num_nulls(file_name, row_count, size_bytes, sha256) = 0)",
            name=op.f("ck_exports_done_has_file"),
        ),
        sa.CheckConstraint(
            "(state = 'failed') = (error IS NOT NULL)", name=op.f("ck_exports_failed_has_error")
        ),
        sa.ForeignKeyConstraint(
            ["session_id"], ["sessions.id"], name=op.f("fk_exports_session_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_exports")),
    )
    op.create_index(
        "ix_exports_unfinished",
        "exports",
        ["created_at"],
        postgresql_where=sa.text("state IN ('waiting', 'running')"),
    )


def downgrade() -> None:
    op.drop_table("exports")
