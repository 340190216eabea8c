"""Accounts and tokens."""

from dataclasses import asdict
from typing import Any

from flask import Blueprint

from core import errors
from core.accounts import Account
from web import schemas, tokens
from web.operation import operation
from web.state import services
from web.tokens import Auth

blueprint = Blueprint("auth", __name__, url_prefix="/api/auth")


@blueprint.post("/register")
@operation(
    auth=Auth.PUBLIC,
    body=schemas.Registration(),
    answer=schemas.AccountWithToken(),
    status=201,
    refuses=(errors.UsernameTaken, errors.EmailTaken),
)
def register(username: str, email: str, password: str) -> dict[str, Any]:
    """Create an account. The first one on an empty database becomes the admin."""
    return _with_token(services().accounts.register(username, email, password))


@blueprint.post("/login")
@operation(
    auth=Auth.PUBLIC,
    body=schemas.Login(),
    answer=schemas.AccountWithToken(),
    refuses=(errors.InvalidCredentials,),
)
def login(username: str, password: str) -> dict[str, Any]:
    """Get a token for an account."""
    return _with_token(services().accounts.authenticate(username, password))


@blueprint.get("/me")
@operation(auth=Auth.MEMBER, answer=schemas.Account())
def me() -> Account:
    """The caller's account."""
    return services().accounts.get(tokens.current_user_id())


@blueprint.post("/logout")
@operation(auth=Auth.MEMBER, status=204)
def logout() -> None:
    """Refuse the caller's token from now on."""
    services().revocations.revoke(*tokens.current_token())


def _with_token(account: Account) -> dict[str, Any]:
    return {**asdict(account), **tokens.issue(account)}
