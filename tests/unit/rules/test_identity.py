"""Spellings of one name, address or password have one canonical form; others are refused."""

import itertools
import unicodedata

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from precis_i18n import get_profile

from core.rules import identity

INVISIBLE = [
    "\u00ad", "\u034f", "\u061c", "\u115f", "\u17b4", "\u180b", "\u200b", "\u200d", "\u2060",
    "\u2065", "\u2800", "\u3164", "\ufe00", "\ufe0f", "\ufeff", "\ufff0", "\U0001d159",
    "\U0001d173", "\U000e0001", "\U000e0041", "\U000e0101", "\U000e0fff",
]  # fmt: skip
SPACES = [" ", "  ", "\u00a0", "\u2003", "\u3000", "\u1680", "\u202f", "\u205f \u2009"]
FORMS = ["NFC", "NFD", "NFKC", "NFKD"]
# What a keyboard types: no half of a surrogate pair, nothing unassigned.
TEXT = st.text(st.characters(exclude_categories=["Cs", "Cn"]), min_size=1, max_size=20)
WORDS = st.lists(
    st.text(st.characters(categories=["L", "Nd", "Mn"]), min_size=1, max_size=8),
    min_size=1,
    max_size=3,
)
USERNAME = get_profile("UsernameCaseMapped:CaseFold")


def fullwidth(text: str) -> str:
    """ASCII letters as wide as ideographs."""
    return "".join(chr(ord(c) + 0xFEE0) if "!" <= c <= "~" else c for c in text)


def upper(text: str) -> str:
    """Upper case, where folding brings the letter back (not of a dotless i)."""
    return "".join(c.upper() if c.upper().casefold() == c.casefold() else c for c in text)


@st.composite
def two_spellings(draw: st.DrawFn) -> tuple[str, str]:
    """A name, and the same name as somebody else writes it."""
    # A name of invisible characters alone is its own form.
    words = draw(WORDS.filter(lambda words: identity._INVISIBLE.sub("", "".join(words))))
    spelled = []
    for word in words:
        other = unicodedata.normalize(draw(st.sampled_from(FORMS)), word)
        other = draw(st.sampled_from([str, upper, fullwidth, str.casefold]))(other)
        at = draw(st.integers(0, len(other)))
        spelled.append(other[:at] + draw(st.sampled_from(["", *INVISIBLE])) + other[at:])
    other = draw(st.sampled_from(SPACES)).join(spelled)
    return " ".join(words), draw(st.sampled_from(["", *SPACES])) + other


@given(TEXT)
def test_canonical_form_of_a_name_is_its_own(name: str) -> None:
    canonical = identity.canonical_name(name)
    assert canonical
    assert identity.canonical_name(canonical) == canonical


@given(two_spellings())
def test_spellings_of_one_name_have_one_canonical_form(pair: tuple[str, str]) -> None:
    name, other = pair
    assert identity.canonical_name(other) == identity.canonical_name(name)


# Most texts are no names.
@settings(suppress_health_check=[HealthCheck.filter_too_much])
@given(TEXT)
def test_canonical_form_of_an_accepted_name_is_that_of_precis(name: str) -> None:
    assume(identity.name_fault(name) is None)
    words = [USERNAME.enforce(identity._apart(word)) for word in name.split()]
    assert identity.canonical_name(" ".join(words)) == identity.canonical_name(name)


@given(WORDS, st.sampled_from(FORMS[:2]))
def test_a_name_is_refused_in_either_normal_form_or_in_none(words: list[str], form: str) -> None:
    name = " ".join(words)
    other = unicodedata.normalize(form, name)
    assert (identity.name_fault(other) is None) == (identity.name_fault(name) is None)


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=20))
def test_every_text_gets_a_verdict(text: str) -> None:
    for verdict in (identity.name_fault(text), text and identity.password_fault(text)):
        assert verdict is None or verdict == "" or verdict.endswith(".")


@pytest.mark.parametrize(
    ("name", "other"),
    [
        ("Jos\u00e9", "Jose\u0301"),
        ("bob lee", "bob \u00a0\u2003lee"),
        ("ΟΔΟΣ", "οδος"),
        ("οδος", "οδοσ"),
        ("straße", "STRASSE"),
        ("İstanbul", "istanbul"),
        ("bob", "\uff42\uff4f\uff42"),
        ("admin", "adm\u0131n"),
        ("admin", "\u0251dmin"),
        ("big", "bi\u0261"),
        ("bowl", "b\u1d0f\u1d21l"),
        ("O'Brien", "O\u2019Brien"),
        ("O'Brien", "O\u02bcBrien"),
        ("bob-lee", "bob\u2010lee"),
        ("\u30a2\u30a4", "\uff71\uff72"),
        ("\uac00", "\u1100\u1161"),
        ("น้ำ", "น้\u0e4dา"),
        *((f"admin{mark}", "admin") for mark in INVISIBLE),
    ],
    ids=ascii,
)
def test_two_spellings_are_one_name(name: str, other: str) -> None:
    assert identity.canonical_name(name) == identity.canonical_name(other)


@pytest.mark.parametrize(
    "pair", [("ann", "anne"), ("ann lee", "annlee"), ("o'neil", "oneil"), ("é", "e")]
)
def test_two_names_are_not_one(pair: tuple[str, str]) -> None:
    assert len(set(map(identity.canonical_name, pair))) == 2


def test_invisible_names_of_old_accounts_are_not_one_account() -> None:
    names = ["\u200b\u200b\u200b", "\u2060\u2060\u2060"]
    assert [identity.canonical_name(name) for name in names] == names


@pytest.mark.parametrize(
    ("name", "says"),
    [
        *((f"ad{mark}min", "invisible character U+") for mark in INVISIBLE),
        ("bob\ue000", "not U+E000"),
        ("bob\U0010fffd", "not U+10FFFD"),
        ("bob\u0378", "not U+0378"),
        ("bob\ufdd0", "not U+FDD0"),
        ("\u0301\u0301\u0301", "a word with the mark U+0301"),
        ("bob \u0301lee", "a word with the mark U+0301"),
        ("\u093f\u093e\u0940", "a word with the mark U+093F"),
        ("bob" + "\u0301" * 6, "more than 4 marks"),
        ("\U0001d41aann", "not \U0001d41a (U+1D41A)"),
        ("bob\u00b2", "not ² (U+00B2)"),
        ("bob\U0001f600", "(U+1F600)"),
        ("bob\ufffc", "(U+FFFC)"),
        ("\u05e9\u05dcabc", "directions"),
        ("\u0430dmin", "mix letters of Cyrillic and Latin"),
        ("adm\u03b9n", "mix letters of Greek and Latin"),
        ("bob \u0430\u0430", "mix letters of Cyrillic and Latin"),
    ],
    ids=ascii,
)
def test_a_name_that_misleads_is_refused_with_a_sentence(name: str, says: str) -> None:
    assert says in (identity.name_fault(name) or "")


@pytest.mark.parametrize(
    "name",
    [
        "ann", "Ann Lee", "O'Brien", "a_b-c.d@e", "<script>", "José", "Ольга", "κόσμος",
        "שלום עולם", "العربية", "नमस्ते", "ไทย น้ำ", "日本語の名前",
        "田中 Taro", "한글", "Nguyễn", "l·l", "ᏣᎳᎩ",
    ],
)  # fmt: skip
def test_names_of_people_are_accepted(name: str) -> None:
    assert identity.name_fault(name) is None
    assert identity.name_fault(unicodedata.normalize("NFD", name)) is None


SPELLINGS_OF_AN_ADDRESS = [
    "ada@bücher.example",
    "ada@b\u0075\u0308cher.example",
    "ADA@BÜCHER.Example",
    "ada@xn--bcher-kva.example",
    "ada@XN--BCHER-KVA.example",
    "ada@bücher。example",
    "ada@bücher\uff0eexample",
    "ada@\uff42ücher.example",
]


def test_spellings_of_one_address_have_one_canonical_form() -> None:
    forms = set(map(identity.canonical_email, SPELLINGS_OF_AN_ADDRESS))
    assert forms == {"ada@xn--bcher-kva.example"}


@given(st.one_of(st.emails(), TEXT, st.builds("{}@{}.com".format, TEXT, TEXT)))
def test_canonical_form_of_an_address_is_its_own(address: str) -> None:
    canonical = identity.canonical_email(address)
    assert identity.canonical_email(canonical) == canonical


@given(st.emails(domains=st.just("Example.COM")))
def test_case_of_an_address_does_not_matter(address: str) -> None:
    assert identity.canonical_email(address.upper()) == identity.canonical_email(address.lower())


@pytest.mark.parametrize(
    "address",
    [
        "a\u200b@t.com", "a@t\u200b.com", "a@t\u2028.com", "a\u2028@t.com", "x@。t.com", "x@t.com.",
        "x@t..com", "x.@t.com", f"{'x' * 65}@t.com", f"x@{'d' * 64}.com", f"x@{'d.' * 127}com",
        "josé@t.com", "x@t", "x@[127.0.0.1]", '"a b"@t.com', "A <x@t.com>", "x@t.com\n", " x@t.com",
        "x@xn--a.com", "x@t\ufe0f.com", "@t.com", "x@", "x", "", "x@a_b.com", "x@t.com,y@t.com",
    ],
    ids=ascii,
)  # fmt: skip
def test_an_address_that_gets_no_mail_is_refused_with_a_sentence(address: str) -> None:
    with pytest.raises(ValueError, match=r"[a-z]"):
        identity.mailbox(address)


@pytest.mark.parametrize(
    "address", ["x@t.com", f"{'x' * 64}@t.com", "a+b@t.co", "x@shop.local", "x@flash.test"]
)
def test_an_address_that_may_get_mail_is_accepted(address: str) -> None:
    assert identity.mailbox(address) == address


@given(TEXT, st.sampled_from(FORMS[:2]), st.sampled_from(SPACES[2:6]))
def test_spellings_of_one_password_have_one_canonical_form(
    password: str, form: str, space: str
) -> None:
    canonical = identity.canonical_password(password)
    assert identity.canonical_password(canonical) == canonical
    assume(identity.password_fault(password) is None)
    other = unicodedata.normalize(form, password).replace(" ", space)
    assert identity.canonical_password(other) == canonical


@given(TEXT)
def test_a_password_is_compared_as_typed_too_and_once_when_that_is_the_same(password: str) -> None:
    spellings = identity.password_spellings(password)
    assert spellings[-1] == password
    assert len(spellings) == len(set(spellings)) == 1 + (spellings[0] != password)


@pytest.mark.parametrize("password", ["secret\u200b", "secret\ue000", "secret\u0378", "pass\ufe0f"])
def test_a_password_that_cannot_be_typed_again_is_refused(password: str) -> None:
    assert "U+" in (identity.password_fault(password) or "")


@pytest.mark.parametrize("password", ["test123", "pässwörd", "\N{GRINNING FACE}" * 6, "      "])
def test_a_password_of_any_keyboard_is_accepted(password: str) -> None:
    assert identity.password_fault(password) is None


@pytest.mark.parametrize(
    ("text", "shows"),
    [
        ("Camera", True),
        ("\N{GRINNING FACE}", True),
        ("-", True),
        ("e\u0301", True),
        ("", False),
        ("\u0301", False),
        ("\u200b\u2060", False),
        ("\u2800", False),
        ("\ue000", False),
        ("\u0378", False),
        ("\u00a0", False),
    ],
    ids=ascii,
)
def test_a_text_shows_something_or_nothing(text: str, shows: bool) -> None:
    assert identity.shows_something(text) is shows


@pytest.mark.parametrize("pattern", ["{}", "i{}", "{}\u0301", "{}'l1|0`"])
def test_folding_ends_for_every_character(pattern: str) -> None:
    for code_point in itertools.chain(
        range(0xD800), range(0xE000, 0x30000), range(0xE0000, 0xE0200)
    ):
        name = pattern.format(chr(code_point))
        canonical = identity.canonical_name(name)
        assert canonical == name or identity.canonical_name(canonical) == canonical, hex(code_point)
