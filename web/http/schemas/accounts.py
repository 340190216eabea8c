"""Accounts and logins."""

from marshmallow import Schema, fields, validate

from web.http.fields import (
    EmailAddress,
    Flag,
    Identifier,
    Integer,
    Moment,
    NewPassword,
    Number,
    Text,
    Title,
    Username,
)
from web.http.schemas.base import PageQuery, RequestSchema, no_outer_spaces, search_field


class Registration(RequestSchema):
    username = Username(
        required=True,
        validate=[validate.Length(3, 50), no_outer_spaces],
        metadata={
            "description": "Letters of one script, digits, ASCII signs, spaces between words. "
            "Case, width, composition and the number of spaces make no other name."
        },
    )
    email = EmailAddress(
        required=True,
        validate=validate.Length(max=254),
        metadata={"format": "email", "description": "The domain is stored in IDNA."},
    )
    password = NewPassword(
        required=True,
        load_only=True,
        validate=validate.Length(6, 128),
        metadata={
            "format": "password",
            "description": "The shop may ask for more characters, and refuse common passwords.",
        },
    )


class Login(RequestSchema):
    username = Text(required=True)
    password = Text(required=True, load_only=True, metadata={"format": "password"})


class NewApiKey(RequestSchema):
    """Of the command line: API keys are not made by API."""

    name = Title(required=True, validate=[validate.Length(1, 50), no_outer_spaces])


class AccountChanges(RequestSchema):
    email_news = Flag(
        required=True,
        metadata={
            "description": "Whether being outbid and starts of sales come by e-mail, too. Results "
            "and offers always do."
        },
    )


class Account(Schema):
    user_id = Identifier(required=True)
    username = Text(required=True)
    email = Text(required=True)
    is_admin = fields.Boolean(required=True)
    weight = Number(required=True)
    created_at = Moment(required=True)
    email_news = fields.Boolean(required=True)


class AccountWithToken(Account):
    token = fields.String(required=True)
    token_type = fields.String(required=True, validate=validate.Equal("Bearer"))
    expires_in = Integer(required=True, metadata={"description": "Seconds."})


class MembersQuery(PageQuery):
    search = search_field("Part of the name or of the e-mail address.")


class Member(Account):
    class Meta:
        exclude = ("email_news",)

    is_disabled = fields.Boolean(required=True)
    is_erased = fields.Boolean(required=True)
