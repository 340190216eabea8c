"""What holds for offers whatever writes them, and the notification of a late one

Revision: 0011
Follows:  0009
"""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0009"
branch_labels = None
depends_on = None

CONTRACTS = "nothing: the version before writes no offers, and no notification of another kind"


def upgrade() -> None:
    _hold_places()
    _hold_inventory()
    _hold_ended_offers()
    op.create_index("ix_shop_events_subject", "shop_events", ["subject_id"])
    _allow_kinds("'session_ended', 'offer_opened'")


def _hold_places() -> None:
    """No offer has a place above the inventory. Its lock waits for an inventory that changes."""
    op.execute("""
        CREATE FUNCTION check_offer_places() RETURNS trigger
        LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
        BEGIN
            PERFORM FROM sessions WHERE id IN (SELECT session_id FROM opened)
              ORDER BY id FOR SHARE;
            IF EXISTS (SELECT FROM opened JOIN sessions ON sessions.id = session_id
                        WHERE place > inventory) THEN
                RAISE EXCEPTION 'an offer has a place above the inventory'
                    USING ERRCODE = 'check_violation';
            END IF;
            RETURN NULL;
        END $$
    """)
    op.execute("""
        CREATE TRIGGER check_offer_places AFTER INSERT ON offers
        REFERENCING NEW TABLE AS opened
        FOR EACH STATEMENT EXECUTE FUNCTION check_offer_places()
    """)


def _hold_inventory() -> None:
    """The inventory cannot fall below a place that is taken."""
    op.execute("""
        CREATE FUNCTION check_inventory() RETURNS trigger
        LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
        BEGIN
            IF EXISTS (SELECT FROM offers
                        WHERE session_id = NEW.id AND place > NEW.inventory
                          AND state IN ('open', 'paid')) THEN
                RAISE EXCEPTION 'the inventory cannot fall below a place that is taken'
                    USING ERRCODE = 'check_violation';
            END IF;
            RETURN NEW;
        END $$
    """)
    op.execute("""
        CREATE TRIGGER check_inventory BEFORE UPDATE OF inventory ON sessions
        FOR EACH ROW WHEN (NEW.inventory < OLD.inventory) EXECUTE FUNCTION check_inventory()
    """)


def _hold_ended_offers() -> None:
    """What has ended never changes, and no offer goes to another member or place."""
    op.execute("""
        CREATE FUNCTION refuse_offer_change() RETURNS trigger
        LANGUAGE plpgsql AS $$
        BEGIN
            RAISE EXCEPTION 'an offer that has ended never changes, nor whose it is'
                USING ERRCODE = 'check_violation';
        END $$
    """)
    op.execute("""
        CREATE TRIGGER refuse_offer_change BEFORE UPDATE ON offers
        FOR EACH ROW WHEN (
            OLD.state <> 'open'
            OR (NEW.id, NEW.session_id, NEW.user_id, NEW.rank, NEW.place)
               <> (OLD.id, OLD.session_id, OLD.user_id, OLD.rank, OLD.place))
        EXECUTE FUNCTION refuse_offer_change()
    """)


def _allow_kinds(kinds: str) -> None:
    op.drop_constraint(op.f("ck_notifications_kind_known"), "notifications")
    op.create_check_constraint(
        op.f("ck_notifications_kind_known"), "notifications", sa.text(f"kind IN ({kinds})")
    )


def downgrade() -> None:
    op.execute("""
        DELETE FROM email_deliveries USING notifications
         WHERE id = notification_id AND kind = 'offer_opened'
    """)
    op.execute("DELETE FROM notifications WHERE kind = 'offer_opened'")
    _allow_kinds("'session_ended'")
    op.drop_index("ix_shop_events_subject", "shop_events")
    for table, name in (
        ("offers", "refuse_offer_change"),
        ("sessions", "check_inventory"),
        ("offers", "check_offer_places"),
    ):
        op.execute(f"DROP TRIGGER {name} ON {table}")
        op.execute(f"DROP FUNCTION {name}()")
