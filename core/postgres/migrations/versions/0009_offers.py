"""Offers, what a winner pays, cancelled sessions, and events for the shop's systems

Revision: 0009
Follows:  0008
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

from core.config import SettingsReader, gather_values
from core.config.currency import read_currency

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

CONTRACTS = "nothing, unless a session is cancelled or closed while the version before still runs"

_MOMENT = sa.DateTime(timezone=True)


def upgrade() -> None:
    _sessions()
    for name in ("response_time", "weight"):
        op.add_column("rankings", sa.Column(name, sa.Double(), nullable=True))
    op.add_column("rankings", sa.Column("price_to_pay", sa.Numeric(12, 2), nullable=True))
    op.create_check_constraint(
        op.f("ck_rankings_price_to_pay_is_bid"), "rankings", "price_to_pay <= price"
    )
    _offers()
    _shop_events()


def _sessions() -> None:
    # Sessions of versions that know no currency, before the upgrade and while it runs.
    currency = read_currency(SettingsReader(gather_values()))
    op.add_column(
        "sessions",
        sa.Column("currency", sa.String(3), server_default=currency, nullable=False),
    )
    op.add_column(
        "sessions",
        sa.Column("pricing", sa.String(12), server_default=sa.text("'pay_as_bid'"), nullable=False),
    )
    op.add_column(
        "sessions",
        sa.Column("offer_minutes", sa.Double(), server_default=sa.text("1440"), nullable=False),
    )
    op.add_column("sessions", sa.Column("offers_end", _MOMENT, nullable=True))
    op.add_column("sessions", sa.Column("cancelled_at", _MOMENT, nullable=True))
    op.add_column("sessions", sa.Column("cancel_reason", sa.String(500), nullable=True))
    op.add_column(
        "sessions", sa.Column("version", sa.Integer(), server_default=sa.text("1"), nullable=False)
    )
    op.drop_constraint(op.f("ck_sessions_status_known"), "sessions")
    for name, condition in (
        ("status_known", "status IN ('scheduled', 'active', 'inactive', 'ended', 'cancelled')"),
        ("cancelled_has_moment", "(status = 'cancelled') = (cancelled_at IS NOT NULL)"),
        ("pricing_known", "pricing IN ('pay_as_bid', 'second_score')"),
        ("offer_minutes_positive", "offer_minutes > 0 AND offer_minutes < 'Infinity'"),
    ):
        op.create_check_constraint(op.f(f"ck_sessions_{name}"), "sessions", condition)


def _offers() -> None:
    op.create_table(
        "offers",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("session_id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("rank", sa.Integer(), nullable=False),
        sa.Column("place", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(9), server_default=sa.text("'open'"), nullable=False),
        sa.Column(
            "opened_at", _MOMENT, server_default=sa.text("clock_timestamp()"), nullable=False
        ),
        sa.Column("expires_at", _MOMENT, nullable=False),
        sa.Column("settled_at", _MOMENT, nullable=True),
        sa.Column("version", sa.Integer(), server_default=sa.text("1"), nullable=False),
        sa.CheckConstraint("place >= 1", name=op.f("ck_offers_place_positive")),
        sa.CheckConstraint(
            "state IN ('open', 'paid', 'declined', 'expired', 'withdrawn')",
            name=op.f("ck_offers_state_known"),
        ),
        sa.CheckConstraint(
            "(state = 'open') = (settled_at IS NULL)", name=op.f("ck_offers_settled_unless_open")
        ),
        sa.ForeignKeyConstraint(["session_id"], ["sessions.id"], name=op.f("fk_offers_session_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_offers")),
        sa.UniqueConstraint("session_id", "user_id", name=op.f("uq_offers_session_id_user_id")),
        sa.UniqueConstraint("session_id", "rank", name=op.f("uq_offers_session_id_rank")),
    )
    op.create_index(
        "uq_offers_place_taken",
        "offers",
        ["session_id", "place"],
        unique=True,
        postgresql_where=sa.text("state IN ('open', 'paid')"),
    )
    op.create_index(
        "ix_offers_to_expire",
        "offers",
        ["expires_at"],
        postgresql_where=sa.text("state = 'open'"),
    )
    op.create_index("ix_offers_member", "offers", ["user_id", sa.text("opened_at DESC")])
    op.create_table(
        "offers_passed_over",
        sa.Column("session_id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("rank", sa.Integer(), nullable=False),
        sa.Column("reason", sa.String(8), nullable=False),
        sa.Column(
            "passed_at", _MOMENT, server_default=sa.text("clock_timestamp()"), nullable=False
        ),
        sa.CheckConstraint(
            "reason IN ('disabled', 'erased')", name=op.f("ck_offers_passed_over_reason_known")
        ),
        sa.ForeignKeyConstraint(
            ["session_id"], ["sessions.id"], name=op.f("fk_offers_passed_over_session_id")
        ),
        sa.PrimaryKeyConstraint("session_id", "user_id", name=op.f("pk_offers_passed_over")),
    )


def _shop_events() -> None:
    op.create_table(
        "shop_events",
        sa.Column("id", sa.Uuid(), server_default=sa.text("gen_random_uuid()"), nullable=False),
        sa.Column("event", sa.String(50), nullable=False),
        sa.Column("session_id", sa.Uuid(), nullable=False),
        sa.Column("subject_id", sa.Uuid(), nullable=False),
        sa.Column("version", sa.Integer(), server_default=sa.text("1"), nullable=False),
        sa.Column("data", JSONB(), nullable=False),
        sa.Column(
            "created_at", _MOMENT, server_default=sa.text("clock_timestamp()"), nullable=False
        ),
        sa.Column("delivered_at", _MOMENT, nullable=True),
        sa.ForeignKeyConstraint(
            ["session_id"], ["sessions.id"], name=op.f("fk_shop_events_session_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_shop_events")),
    )
    op.create_index(
        "ix_shop_events_undelivered",
        "shop_events",
        ["created_at"],
        postgresql_where=sa.text("delivered_at IS NULL"),
    )


def downgrade() -> None:
    op.drop_table("shop_events")
    op.drop_table("offers_passed_over")
    op.drop_table("offers")
    op.drop_constraint(op.f("ck_rankings_price_to_pay_is_bid"), "rankings")
    for name in ("response_time", "weight", "price_to_pay"):
        op.drop_column("rankings", name)
    for name in (
        "status_known",
        "cancelled_has_moment",
        "pricing_known",
        "offer_minutes_positive",
    ):
        op.drop_constraint(op.f(f"ck_sessions_{name}"), "sessions")
    # The version before knows no cancelled sessions: they end without results.
    op.execute(
        """
        UPDATE sessions
           SET status = 'ended', closed_at = cancelled_at, published_at = cancelled_at,
               weighed_at = cancelled_at
         WHERE status = 'cancelled'
        """
    )
    op.create_check_constraint(
        op.f("ck_sessions_status_known"),
        "sessions",
        "status IN ('scheduled', 'active', 'inactive', 'ended')",
    )
    for name in (
        "currency",
        "pricing",
        "offer_minutes",
        "offers_end",
        "cancelled_at",
        "cancel_reason",
        "version",
    ):
        op.drop_column("sessions", name)
