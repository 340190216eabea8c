"""Accounts by their name, and the refusal of a name or an address that is taken."""

from sqlalchemy import Select, and_, func, or_, select
from sqlalchemy.exc import IntegrityError

from core import errors
from core.postgres.models import User
from core.rules import identity

_REFUSALS: dict[str, type[errors.Refusal]] = {
    "uq_users_username_key": errors.UsernameTaken,
    "uq_users_username_lower": errors.UsernameTaken,
    "uq_users_email_key": errors.EmailTaken,
    "uq_users_email_lower": errors.EmailTaken,
}


def by_name(username: str) -> Select[User]:
    """Selects the account with this username in any spelling.

    An account without a key has its exact spelling only, which goes first (see User).
    """
    has_key = User.username_key == identity.canonical_name(username)
    is_spelled_so = func.lower(User.username) == func.lower(username.strip())
    return (
        select(User)
        .where(or_(has_key, and_(User.username_key.is_(None), is_spelled_so)))
        .order_by(User.username_key.nulls_first())
        .limit(1)
    )


def named(username: str, email: str, password_hash: str) -> User:
    """A new account with its keys."""
    return User(
        username=username,
        username_key=identity.canonical_name(username),
        email=email,
        email_key=identity.canonical_email(email),
        password_hash=password_hash,
    )


def refusal_of(error: IntegrityError) -> Exception:
    """UsernameTaken or EmailTaken, if that is what the database refused; else the error."""
    constraint = getattr(getattr(error.orig, "diag", None), "constraint_name", None)
    refusal = _REFUSALS.get(constraint or "")
    return refusal() if refusal else error
