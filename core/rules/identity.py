"""Names, e-mail addresses and passwords: which are accepted, and which spellings are one.

Two texts that a reader takes for one name, or a mail server for one address, have one
canonical form. Accounts are unique by it, found by it, and limited by it. The canonical form
exists for any text, because accounts are older than these rules; what is accepted for a new
account is stricter.

Latin letters and signs that look like one of ASCII count as that one. Letters of other scripts
that look alike stay different: a name may not mix such scripts, but `сор` (Cyrillic) and `cop`
are two names, and so are `bob1` and `bobl`.
"""  # noqa: RUF002 - an example of letters that look alike

import re
import unicodedata
from collections.abc import Iterable
from functools import cache
from itertools import groupby

import email_validator
from confusable_homoglyphs import categories
from confusable_homoglyphs.utils import load
from email_validator import EmailNotValidError, validate_email
from precis_i18n import get_profile

# Unicode's Default_Ignorable_Code_Point, and the blank characters it classes as letters or
# symbols: Braille's blank pattern, Khitan's filler, music's null notehead.
_INVISIBLE = re.compile(
    "[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e"
    "\u2060-\u206f\u2800\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufff8\U00016fe4"
    "\U0001bca0-\U0001bca3\U0001d159\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
)
# A dot over a letter that has one changes nothing to be seen; İ folds to such an i.
_SECOND_DOT = re.compile("(?<=[ij])\u0307")
# No account has a longer name or password, however it is spelled; folding takes time.
_LONGEST_SPELLING = 1000
# Two are enough for every text that was tried; a bound, because strangers choose the text.
_MAX_PASSES = 10
# Unicode's bound for marks that can be told apart (UTS 39, 5.4).
_MAX_STACKED_MARKS = 4
_MARKS = frozenset({"Mn", "Mc", "Me"})
_SHOWN = frozenset("LNPS")
# Scripts that are written together (UTS 39, "highly restrictive").
_WRITTEN_TOGETHER = (
    {"LATIN", "HAN", "HIRAGANA", "KATAKANA"},
    {"LATIN", "HAN", "BOPOMOFO"},
    {"LATIN", "HAN", "HANGUL"},
)
_ANY_SCRIPT = {"COMMON", "INHERITED"}

_USERNAME = get_profile("UsernameCaseMapped:CaseFold")
_PASSWORD = get_profile("OpaqueString")

# A shop's own mail server may serve `.local`, and tests use `.test`: whether an address can
# be delivered is the mail server's to say.
email_validator.SPECIAL_USE_DOMAIN_NAMES.clear()


@cache
def _lookalikes() -> dict[int, str]:
    """Latin letters and common signs by code point, and the ASCII character that each looks like,
    of those that folding leaves (Unicode's confusables.txt). The table is large, and most
    processes never need it.
    """
    found = {}
    for character, likes in load("confusables.json").items():
        is_one = len(character) == 1 and not character.isascii()
        if not is_one or categories.alias(character) not in {"LATIN", "COMMON"}:
            continue
        ascii_like = [like["c"] for like in likes if len(like["c"]) == 1 and like["c"].isascii()]
        if ascii_like and unicodedata.normalize("NFKC", character).casefold() == character:
            found[ord(character)] = ascii_like[0].casefold()
    return found


def canonical_name(name: str) -> str:
    """The form that all spellings of one username have in common: without case, width,
    composition, invisible characters and lookalikes of ASCII, and with one space between words.
    Idempotent.
    """
    if len(name) > _LONGEST_SPELLING:
        return name
    folded = _fold(name)
    for _ in range(_MAX_PASSES):
        if folded == (again := _fold(folded)):
            break
        folded = again
    # A name of invisible characters alone is its own form: else all of them were one.
    return folded or name


def _fold(text: str) -> str:
    """One pass of Unicode's NFKC_Casefold; what it leaves may fold again."""
    seen = unicodedata.normalize("NFKC", _INVISIBLE.sub("", text))
    folded = unicodedata.normalize("NFKC", seen.casefold())
    plain = folded if folded.isascii() else folded.translate(_lookalikes())
    return " ".join(_SECOND_DOT.sub("", plain).split())


def name_fault(name: str) -> str | None:
    """Why a new account cannot have this name, as a sentence; None if it can.

    Words are those of PRECIS's UsernameCaseMapped (RFC 8265), which knows no spaces.
    """
    if invisible := _INVISIBLE.search(name):
        return f"Must not contain the invisible character {_code(invisible[0])}."
    try:
        words = [_USERNAME.enforce(_apart(word)) for word in name.split()]
    except UnicodeEncodeError as refusal:
        return _profile_fault(refusal)
    if not words:
        return "Must have a letter, digit or sign."
    return _marks_fault(words) or _scripts_fault(words)


def _apart(word: str) -> str:
    """The word with the vowels of Thai and Lao apart that PRECIS knows as two signs only."""
    return word.replace("\u0e33", "\u0e4d\u0e32").replace("\u0eb3", "\u0ecd\u0eb2")


def _profile_fault(refusal: UnicodeEncodeError) -> str:
    if refusal.reason.endswith("/bidi_rule"):
        return "Must not mix directions of writing in one word."
    refused = refusal.object[refusal.start : refusal.end]
    shown = f"{refused} ({_code(refused)})" if shows_something(refused) else _code(refused)
    return f"Must have only letters, digits and ASCII signs, not {shown}."


def _marks_fault(words: Iterable[str]) -> str | None:
    for word in words:
        if unicodedata.category(word[0]) in _MARKS:
            return f"Must not start a word with the mark {_code(word[0])}, which needs a letter."
        stacks = groupby(word, key=lambda character: unicodedata.category(character) in _MARKS)
        if any(is_mark and len(list(stack)) > _MAX_STACKED_MARKS for is_mark, stack in stacks):
            return f"Must not have more than {_MAX_STACKED_MARKS} marks on one letter."
    return None


def _scripts_fault(words: Iterable[str]) -> str | None:
    scripts = categories.unique_aliases("".join(words)) - _ANY_SCRIPT
    if len(scripts) < 2 or any(scripts <= together for together in _WRITTEN_TOGETHER):  # noqa: PLR2004 - one script mixes with none
        return None
    return f"Must not mix letters of {' and '.join(sorted(map(str.title, scripts)))}."


def shows_something(text: str) -> bool:
    """Whether a reader sees anything of it: a letter, digit, sign or symbol."""
    return any(
        unicodedata.category(character)[0] in _SHOWN for character in _INVISIBLE.sub("", text)
    )


def mailbox(address: str) -> str:
    """An e-mail address as mail servers take it: ASCII, the domain in IDNA.

    Raises ValueError with a sentence. Letters before the @ must be ASCII: others can be
    delivered only where every server on the way knows SMTPUTF8.
    """
    if invisible := _INVISIBLE.search(address):
        raise EmailNotValidError(f"Must not contain the invisible character {_code(invisible[0])}.")
    parsed = validate_email(address, check_deliverability=False, allow_smtputf8=False, strict=True)
    if parsed.ascii_email is None:
        raise EmailNotValidError("The part before the @-sign must be ASCII.")
    return parsed.ascii_email


def deliverable(address: str) -> str:
    """The address as mail servers take it; an older account's that they may not take as it is."""
    try:
        return mailbox(address)
    except EmailNotValidError:
        return address


def canonical_email(address: str) -> str:
    """The form that all spellings of one address have in common. Idempotent.

    The part before the @ ignores case, as all large mail services do.
    """
    try:
        return mailbox(address).lower()
    except EmailNotValidError:
        folded = canonical_name(address)
    # Folded it may be one that mail servers take.
    return canonical_email(folded) if folded != address else folded


def password_fault(password: str) -> str | None:
    """Why a new password, not empty, cannot be this, as a sentence; None if it can.

    A character that keyboards do not type alike would lock its member out.
    """
    try:
        _PASSWORD.enforce(password)
    except UnicodeEncodeError as refusal:
        refused = refusal.object[refusal.start : refusal.end]
        return f"Must not contain {_code(refused)}, which not every keyboard types."
    return None


def password_spellings(password: str) -> tuple[str, ...]:
    """The spellings to compare with a hash, the canonical one first.

    The second is the password as it was typed, if that differs: hashes that are older than
    the canonical form were made of it.
    """
    return tuple(dict.fromkeys((canonical_password(password), password)))


def canonical_password(password: str) -> str:
    """PRECIS's OpaqueString: composed, and every space the ASCII one. Idempotent.

    A password that the profile refuses, which may have an older hash, is itself.
    """
    if len(password) > _LONGEST_SPELLING:
        return password
    try:
        return str(_PASSWORD.enforce(password))
    except UnicodeEncodeError:
        return password


def _code(text: str) -> str:
    return " ".join(f"U+{ord(character):04X}" for character in text)
