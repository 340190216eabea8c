"""Refuses passwords that are too short or easily guessed, as configured."""

import re
from collections.abc import Callable
from functools import cache
from threading import Lock
from typing import Any, cast

from core import errors
from core.config.passwords import PasswordSettings

# An attacker who has the hashes tries this many guesses in minutes (zxcvbn's score 3).
_MIN_GUESSES = 10**8
# zxcvbn's time grows with the square of the length and, with signs that may stand for letters,
# much faster: 16 characters take it less time than the hash, 64 may take seconds.
_JUDGED_CHARACTERS = 16
_WORD = re.compile(r"[^\W_]{3,}")
# Words that an attacker of this service tries first.
_OWN_WORDS = ("flashbid", "auction", "bidding")
_judging = Lock()


class PasswordPolicy:
    """The rules for new passwords; existing ones stay valid."""

    def __init__(self, settings: PasswordSettings) -> None:
        self._settings = settings

    def check(self, password: str, *, username: str, email: str) -> None:
        """Raises WeakPassword. Its first 16 characters decide whether it is easy to guess."""
        if len(password) < self._settings.min_length:
            raise errors.WeakPassword(f"Shorter than {self._settings.min_length} characters.")
        if self._settings.refuse_common and _is_common(password, username, email):
            raise errors.WeakPassword("Too easy to guess. Choose a longer or less usual one.")


def _is_common(password: str, username: str, email: str) -> bool:
    words = [username, email, *_WORD.findall(username), *_WORD.findall(email)]
    start = _repeated_part(password)[:_JUDGED_CHARACTERS]
    # It keeps the words of a call in a global.
    with _judging:
        judged = _judge()(start, user_inputs=[*_OWN_WORDS, *words])
    return bool(judged["guesses"] < _MIN_GUESSES)


def _repeated_part(text: str) -> str:
    """The part of which the text is a repetition; the text itself if it is none."""
    return text[: (text + text).find(text, 1)]


@cache
def _judge() -> Callable[..., dict[str, Any]]:
    """Imported on first use: its lists of words take 14 MB."""
    from zxcvbn import zxcvbn  # noqa: PLC0415 - see above

    return cast(Callable[..., dict[str, Any]], zxcvbn)
