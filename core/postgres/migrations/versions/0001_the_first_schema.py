"""The first schema

Revision: 0001
Follows:  nothing
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "bids",
        sa.Column("session_id", sa.Uuid(), nullable=False),
        sa.Column("sequence", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("price", sa.Numeric(precision=12, scale=2), nullable=False),
        sa.Column("score", sa.Double(), nullable=False),
        sa.Column("response_time", sa.Double(), nullable=False),
        sa.Column("weight", sa.Double(), nullable=False),
        sa.Column("accepted_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("sequence >= 1", name=op.f("ck_bids_sequence_positive")),
        sa.PrimaryKeyConstraint("session_id", "sequence", name=op.f("pk_bids")),
    )
    op.create_index(
        "ix_bids_member",
        "bids",
        ["user_id", "session_id", sa.literal_column("sequence DESC")],
        unique=False,
    )
    op.create_table(
        "products",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("description", sa.String(length=1000), nullable=True),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_products")),
    )
    op.create_table(
        "revoked_tokens",
        sa.Column("token_id", sa.String(length=64), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("token_id", name=op.f("pk_revoked_tokens")),
    )
    op.create_index(
        op.f("ix_revoked_tokens_expires_at"), "revoked_tokens", ["expires_at"], unique=False
    )
    op.create_table(
        "session_events",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("session_id", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.String(length=50), nullable=False),
        sa.Column("details", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_session_events")),
    )
    op.create_index(
        op.f("ix_session_events_session_id"), "session_events", ["session_id"], unique=False
    )
    op.create_table(
        "users",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("username", sa.String(length=50), nullable=False),
        sa.Column("email", sa.String(length=254), nullable=False),
        sa.Column("password_hash", sa.Text(), nullable=False),
        sa.Column("is_admin", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("weight", sa.Double(), server_default=sa.text("1.0"), nullable=False),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.CheckConstraint("weight >= 1 AND weight <= 5", name=op.f("ck_users_weight_range")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_users")),
    )
    op.create_index(
        "uq_users_email_lower", "users", [sa.literal_column("lower(email)")], unique=True
    )
    op.create_index(
        "uq_users_username_lower", "users", [sa.literal_column("lower(username)")], unique=True
    )
    op.create_table(
        "sessions",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("product_id", sa.Uuid(), nullable=False),
        sa.Column("upset_price", sa.Numeric(precision=12, scale=2), nullable=False),
        sa.Column("inventory", sa.Integer(), nullable=False),
        sa.Column("alpha", sa.Double(), nullable=False),
        sa.Column("beta", sa.Double(), nullable=False),
        sa.Column("gamma", sa.Double(), nullable=False),
        sa.Column("start_time", sa.DateTime(timezone=True), nullable=False),
        sa.Column("end_time", sa.DateTime(timezone=True), nullable=False),
        sa.Column("status", sa.String(length=9), nullable=False),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
        ),
        sa.Column("closed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("final_price", sa.Numeric(precision=12, scale=2), nullable=True),
        sa.Column("highest_bid", sa.Numeric(precision=12, scale=2), nullable=True),
        sa.Column("published_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "(status = 'ended') = (closed_at IS NOT NULL)", name=op.f("ck_sessions_ended_is_closed")
        ),
        sa.CheckConstraint(
            "alpha >= 0 AND alpha < 'Infinity' AND beta >= 0 AND beta < 'Infinity' AND gamma >= 0 AND gamma < 'Infinity'",
            name=op.f("ck_sessions_coefficients_finite"),
        ),
        sa.CheckConstraint(
            "status IN ('scheduled', 'active', 'inactive', 'ended')",
            name=op.f("ck_sessions_status_known"),
        ),
        sa.CheckConstraint("inventory >= 1", name=op.f("ck_sessions_inventory_positive")),
        sa.CheckConstraint("start_time <= end_time", name=op.f("ck_sessions_window")),
        sa.CheckConstraint("upset_price > 0", name=op.f("ck_sessions_upset_price_positive")),
        sa.ForeignKeyConstraint(
            ["product_id"], ["products.id"], name=op.f("fk_sessions_product_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_sessions")),
    )
    op.create_index(op.f("ix_sessions_product_id"), "sessions", ["product_id"], unique=False)
    op.create_index("ix_sessions_start_time", "sessions", ["start_time"], unique=False)
    op.create_index(
        "ix_sessions_to_close",
        "sessions",
        ["end_time"],
        unique=False,
        postgresql_where=sa.text("published_at IS NULL"),
    )
    op.create_table(
        "bid_log_offsets",
        sa.Column("session_id", sa.Uuid(), nullable=False),
        sa.Column(
            "persisted_sequence", sa.BigInteger(), server_default=sa.text("0"), nullable=False
        ),
        sa.ForeignKeyConstraint(
            ["session_id"], ["sessions.id"], name=op.f("fk_bid_log_offsets_session_id")
        ),
        sa.PrimaryKeyConstraint("session_id", name=op.f("pk_bid_log_offsets")),
    )
    op.create_table(
        "rankings",
        sa.Column("session_id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("rank", sa.Integer(), nullable=False),
        sa.Column("sequence", sa.BigInteger(), nullable=False),
        sa.Column("price", sa.Numeric(precision=12, scale=2), nullable=False),
        sa.Column("score", sa.Double(), nullable=False),
        sa.CheckConstraint("rank >= 1", name=op.f("ck_rankings_rank_positive")),
        sa.ForeignKeyConstraint(
            ["session_id"], ["sessions.id"], name=op.f("fk_rankings_session_id")
        ),
        sa.PrimaryKeyConstraint("session_id", "user_id", name=op.f("pk_rankings")),
        sa.UniqueConstraint("session_id", "rank", name=op.f("uq_rankings_session_id_rank")),
    )
    op.create_index("ix_rankings_user_id", "rankings", ["user_id"], unique=False)


def downgrade() -> None:
    op.drop_index("ix_rankings_user_id", table_name="rankings")
    op.drop_table("rankings")
    op.drop_table("bid_log_offsets")
    op.drop_index(
        "ix_sessions_to_close",
        table_name="sessions",
        postgresql_where=sa.text("published_at IS NULL"),
    )
    op.drop_index("ix_sessions_start_time", table_name="sessions")
    op.drop_index(op.f("ix_sessions_product_id"), table_name="sessions")
    op.drop_table("sessions")
    op.drop_index("uq_users_username_lower", table_name="users")
    op.drop_index("uq_users_email_lower", table_name="users")
    op.drop_table("users")
    op.drop_index(op.f("ix_session_events_session_id"), table_name="session_events")
    op.drop_table("session_events")
    op.drop_index(op.f("ix_revoked_tokens_expires_at"), table_name="revoked_tokens")
    op.drop_table("revoked_tokens")
    op.drop_table("products")
    op.drop_index("ix_bids_member", table_name="bids")
    op.drop_table("bids")
