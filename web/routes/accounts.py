"""Accounts and tokens."""

from dataclasses import asdict
from typing import Any

from flask import Blueprint

from core import errors
from core.members.accounts import Account
from web.guards import rate_limits, tokens
from web.guards.operation import operation
from web.guards.rate_limits import Limit
from web.guards.tokens import Auth
from web.http import schemas
from web.http.body import MAX_ACCOUNT_BYTES
from web.state import services

blueprint = Blueprint("auth", __name__, url_prefix="/api/auth")


@blueprint.post("/register")
@operation(
    auth=Auth.PUBLIC,
    body=schemas.Registration(),
    max_body_bytes=MAX_ACCOUNT_BYTES,
    response=schemas.AccountWithToken(),
    status=201,
    limit=Limit.REGISTER,
    refuses=(errors.UsernameTaken, errors.EmailTaken),
)
def register(username: str, email: str, password: str) -> dict[str, Any]:
    """Create an account. The first account in an empty database becomes admin."""
    account = services().accounts.register(username, email, password)
    rate_limits.remember_login(username)
    return _with_token(account)


@blueprint.post("/login")
@operation(
    auth=Auth.PUBLIC,
    body=schemas.Login(),
    max_body_bytes=MAX_ACCOUNT_BYTES,
    response=schemas.AccountWithToken(),
    limit=Limit.LOGIN,
    refuses=(errors.InvalidCredentials, errors.AccountDisabled),
)
def login(username: str, password: str) -> dict[str, Any]:
    """Log in: get a token."""
    account = services().accounts.authenticate(username, password)
    rate_limits.remember_login(username)
    return _with_token(account)


@blueprint.get("/me")
@operation(auth=Auth.MEMBER, response=schemas.Account())
def me() -> Account:
    """Get your account."""
    return services().accounts.get(tokens.current_user_id())


@blueprint.patch("/me")
@operation(auth=Auth.MEMBER, body=schemas.AccountChanges(), response=schemas.Account())
def change_me(email_news: bool) -> Account:
    """Say which news you get by e-mail."""
    return services().accounts.want_email_news(tokens.current_user_id(), email_news)


@blueprint.post("/logout")
@operation(auth=Auth.MEMBER, status=204)
def logout() -> None:
    """Log out: revoke this token."""
    services().revocations.revoke(*tokens.current_token())


def _with_token(account: Account) -> dict[str, Any]:
    return {**asdict(account), **tokens.issue(account)}
