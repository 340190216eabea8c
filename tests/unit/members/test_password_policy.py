"""Passwords of new accounts: the least length, and those that are easily guessed."""

import pytest

from core.config.passwords import PasswordSettings
from core.errors import WeakPassword
from core.members.password_policy import PasswordPolicy

WHO = {"username": "ada.lovelace", "email": "ada@analytical.example"}


def check(password: str, *, min_length: int = 6, refuse_common: bool = True, **who: str) -> None:
    settings = PasswordSettings(min_length=min_length, refuse_common=refuse_common)
    PasswordPolicy(settings).check(password, **{**WHO, **who})


@pytest.mark.parametrize("password", ["test123", "admin123", "password", "aaaaaa"])
def test_without_the_settings_the_contracts_passwords_do(password: str) -> None:
    check(password, refuse_common=False)


def test_one_that_is_too_short_is_refused_with_the_least_length() -> None:
    with pytest.raises(WeakPassword, match="12 characters") as refused:
        check("x7-Kq93mz!f", min_length=12)
    assert refused.value.extra == {"errors": {"password": [refused.value.detail]}}
    check("x7-Kq93mz!fw", min_length=12)


def test_length_is_counted_in_characters() -> None:
    with pytest.raises(WeakPassword):
        check("größe-süß", min_length=10, refuse_common=False)
    check("größe-süßä", min_length=10, refuse_common=False)


@pytest.mark.parametrize(
    "password",
    [
        "password1234",
        "Passw0rd1234",
        "P@ssw0rd!P@ssw0rd!",
        "letmeinletmein",
        "iloveyou1234",
        "qwertyuiop[]",
        "1qaz2wsx3edc",
        "abcdefghijkl",
        "123456789012",
        "aaaaaaaaaaaa",
        "monkeydragon12",
        "a" * 128,
        "password" * 16,
        "flashbid2026",
        "lovelace1815",
        "ada.lovelace1",
        "analytical!!",
    ],
)
def test_one_that_is_easily_guessed_is_refused(password: str) -> None:
    with pytest.raises(WeakPassword, match="easy to guess") as refused:
        check(password)
    assert password not in str(refused.value)


@pytest.mark.parametrize(
    "password",
    [
        "kxq7-93mz-ppq2",
        "xJ9#kLm2qWz8",
        "mein Hund heißt Waldo",
        "correcthorsebattery",
        "密码不是一个常见的词语吧",
    ],
)
def test_another_will_do(password: str) -> None:
    check(password, min_length=12)


def test_a_long_one_is_judged_by_its_start() -> None:
    """What makes the judgement slow is after it: signs that may each stand for letters."""
    check("4@8({[<6910!|17$5+2%" * 6)
