"""Bids and answers by msgspec are, to the letter, what the schemas make of them."""

import json
from dataclasses import dataclass
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from marshmallow import ValidationError

from web.http import schemas
from web.http.body import (
    MAX_BID_BYTES,
    BodyTooLarge,
    MalformedJson,
    NotUtf8,
    RepeatedField,
    decode,
)
from web.http.fast_json import read_bid

ID = "0f8fad5b-d9cb-469f-a165-70867728950e"
MANY = settings(
    max_examples=500,
    deadline=None,
    database=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
)


@dataclass
class Verdict:
    """What a body is read as, or why it is refused. Prices are compared to the digit."""

    value: Any = None
    error: Any = None


def reference(body: bytes | None) -> Verdict:
    return judge(lambda: _by_schema(body))


def fast(body: bytes | None) -> Verdict:
    return judge(lambda: read_bid(body))


def judge(read: Any) -> Verdict:
    try:
        session_id, price, only_if_better = read()
    except ValidationError as error:
        return Verdict(error=(ValidationError, error.messages))
    except (MalformedJson, BodyTooLarge) as error:
        return Verdict(error=type(error))
    assert (type(session_id), type(price), type(only_if_better)) == (UUID, Decimal, bool)
    return Verdict((session_id, price.as_tuple(), only_if_better))


def _by_schema(body: bytes | None) -> tuple[UUID, Decimal, bool]:
    loaded = schemas.BidRequest().load(decode(body, MAX_BID_BYTES))
    return loaded["session_id"], loaded["price"], loaded["only_if_better"]


ODD_NUMBERS = [
    "250",
    "250.25",
    "250.2",
    "250.250",
    "250.255",
    "250.",
    ".25",
    "0250",
    "+250",
    "-250",
    "- 250",
    "2 50",
    "1e2",
    "1E+2",
    "1E+30",
    "1e-2",
    "1e400",
    "1e-400",
    "1e999999999999",
    "1e-999999999999",
    "0",
    "-0",
    "0.0",
    "-0.00",
    "0.01",
    "0.001",
    "0.009999999999999999999999",
    "9999999999.99",
    "9999999999.990",
    "9999999999.991",
    "10000000000",
    "10000000000.00",
    "99999999999999999999",
    "999999999999999999999999999999",
    "1" * 400,
    "1" * 5000,
    "1.0" + "0" * 50,
    "1." + "0" * 5000,
    "0x10",
    "1_000",
    "NaN",
    "Infinity",
    "-Infinity",
    '"250.25"',
    "true",
    "false",
    "null",
    "[]",
    "[250]",
    "{}",
    '{"price": 250}',
    "",
    '"',
    "250 250",
    "٢٥٠",
    "２５０",  # noqa: RUF001 - digits to Unicode, not to JSON
]
ODD_IDS = [
    f'"{ID}"',
    f'"{ID.upper()}"',
    f'"{ID.title()}"',
    f'"{ID.replace("-", "")}"',
    f'"{{{ID}}}"',
    f'"urn:uuid:{ID}"',
    f'" {ID}"',
    f'"{ID} "',
    f'"{ID}\\n"',
    f'"{ID[:-1]}"',
    f'"{ID}0"',
    f'"{ID[:-1]}g"',
    f'"{ID[:-1]}\\u0065"',
    f'"\\u0030{ID[1:]}"',
    f'"{ID[:-1]}٣"',
    '""',
    '"\\ud800"',
    '"\\x"',
    '"a\tb"',
    '"\x00"',
    "null",
    "12",
    "{}",
    "[]",
    f'["{ID}"]',
    "true",
    ID,
]
ODD_FLAGS = [
    "true",
    "false",
    "null",
    "0",
    "1",
    "1.0",
    "-0",
    "True",
    "TRUE",
    "tru",
    "truee",
    "true true",
    '"true"',
    '"false"',
    '"1"',
    '""',
    "[]",
    "[true]",
    "{}",
    "NaN",
    "",
]
KEYS = [
    "session_id",
    "price",
    "Price",
    "price ",
    "pric\\u0065",
    "only_if_better",
    "only_if_bette\\u0072",
    "onlyIfBetter",
    "other",
    "",
    "\\ud83d",
]

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=6,
).map(json.dumps)
digits = st.text("0123456789", min_size=1, max_size=14)
numbers = st.builds(
    lambda sign, whole, fraction, exponent: sign + whole + fraction + exponent,
    st.sampled_from(["", "", "", "-", "+"]),
    digits,
    st.just("") | digits.map(".{}".format) | st.sampled_from([".5", ".25", ".10", ".", ".00"]),
    st.sampled_from(["", "", "", "", "e0", "e1", "E-1", "E+2", "e-3", "e", "e20", "e21"]),
)
cents = st.integers(0, 10**13).map(lambda number: f"{number // 100}.{number % 100:02}")
prices = st.sampled_from(ODD_NUMBERS) | numbers | cents | json_values
flags = st.sampled_from(["true", "true", "false", *ODD_FLAGS]) | json_values
ids = st.uuids().map('"{}"'.format) | st.sampled_from(ODD_IDS) | json_values
spaces = st.sampled_from(["", "", "", " ", "\n", "\t\r\n ", "\x0b", "\xa0", "\ufeff"])


@st.composite
def near_bids(draw: st.DrawFn) -> bytes:
    """Objects with the fields of a bid, or nearly so, nearly in JSON."""
    members = [("session_id", draw(ids)), ("price", draw(prices))]
    if draw(st.booleans()):
        members.append(("only_if_better", draw(flags)))
    extra = st.tuples(st.sampled_from(KEYS), ids | prices | flags)
    members += draw(st.lists(extra, max_size=2))
    if draw(st.integers(0, 9)) == 0:
        members.pop(draw(st.integers(0, len(members) - 1)))
    members = draw(st.permutations(members))
    space = draw(spaces)
    inner = draw(st.sampled_from([",", ",", ",", ", ", ",,", ""])).join(
        f'"{key}"{space}:{space}{value}' for key, value in members
    )
    text = f"{draw(spaces)}{{{inner}{space}}}{draw(spaces)}"
    body = text.encode("utf-8", "surrogatepass")
    return _spoilt(draw, body)


def _spoilt(draw: st.DrawFn, body: bytes) -> bytes:
    """As it is most often; or with other bytes before, behind or in it; or cut; or encoded
    otherwise.
    """
    how = draw(st.sampled_from(["", "", "", "", "", "cut", "in it", "behind", "before", "utf-16"]))
    at = draw(st.integers(0, len(body)))
    odd = draw(
        st.sampled_from([b"\xff", b"\xc3", b"\x00", b"\xef\xbb\xbf", b"x", b"}", b"//", b"\\"])
    )
    match how:
        case "cut":
            return body[:at]
        case "in it":
            return body[:at] + odd + body[at:]
        case "behind":
            return body + odd
        case "before":
            return odd + body
        case "utf-16":
            return body.decode("utf-8", "replace").encode("utf-16")
    return body


@MANY
@given(near_bids())
def test_what_is_nearly_a_bid_is_read_as_the_schema_reads_it(body: bytes) -> None:
    assert fast(body) == reference(body)


@MANY
@given(st.binary(max_size=80) | json_values.map(str.encode) | st.text(max_size=40).map(str.encode))
@example(b"")
@example(b"null")
@example(b"[]")
@example(b"\xef\xbb\xbf{}")
@example(b"[" * 100_000)
@example(b'{"price":' * 20_000)
@example(b'{"price":250,"session_id":' + b"[" * 60_000)
def test_any_bytes_are_read_as_the_schema_reads_them(body: bytes) -> None:
    assert fast(body) == reference(body)


@pytest.mark.parametrize("price", ODD_NUMBERS)
def test_a_price_is_read_as_the_schema_reads_it(price: str) -> None:
    body = f'{{"session_id":"{ID}","price":{price}}}'.encode()
    assert fast(body) == reference(body)


@pytest.mark.parametrize("flag", ODD_FLAGS)
def test_a_flag_is_read_as_the_schema_reads_it(flag: str) -> None:
    body = f'{{"session_id":"{ID}","price":250.25,"only_if_better":{flag}}}'.encode()
    assert fast(body) == reference(body)


@pytest.mark.parametrize("session_id", ODD_IDS)
def test_an_id_is_read_as_the_schema_reads_it(session_id: str) -> None:
    body = f'{{"price":250.25,"session_id":{session_id}}}'.encode()
    assert fast(body) == reference(body)


TWICE = ["session_id", "price", "only_if_better", "other", "", "pric\\u0065", "session\\u005fid"]


@st.composite
def bids_with_a_field_twice(draw: st.DrawFn) -> bytes:
    """Good bids but for one key that stands twice, however it is spelled."""
    members = [("session_id", f'"{ID}"'), ("price", draw(cents)), ("other", draw(json_values))]
    again = draw(st.sampled_from(TWICE))
    name = json.loads(f'"{again}"')
    if name not in dict(members):
        members.append((again, draw(json_values)))
    members.append((again, draw(ids | prices)))
    inner = ",".join(f'"{key}":{value}' for key, value in draw(st.permutations(members)))
    return f"{draw(spaces)}{{{inner}}}".encode("utf-8", "surrogatepass")


@MANY
@given(bids_with_a_field_twice())
def test_a_field_that_is_there_twice_is_refused(body: bytes) -> None:
    verdict = fast(body)
    assert verdict == reference(body)
    assert issubclass(verdict.error, MalformedJson)


@pytest.mark.parametrize(
    "body",
    [
        f'{{"session_id":"{ID}","price":1,"price":2}}',
        f'{{"price":"no number","session_id":"{ID}","price":2}}',
        f'{{"session_id":"{ID}","price":2,"price":"no number"}}',
        f'{{"session_id":"{ID}","price":2,"pric\\u0065":3}}',
        f'{{"session_id":"no id","session_id":"{ID}","price":2}}',
        f'{{"session_id":"{ID}","session_id":"no id","price":2}}',
        f'{{"session_id":1,"session_id":"{ID}","price":2}}',
        f'{{"session_id":"{ID}","price":2,"only_if_better":true,"only_if_better":false}}',
        f'{{"session_id":"{ID}","price":2,"only_if_better":1,"only_if_better":true}}',
        f'{{"session_id":"{ID}","price":2,"only_if_better":true,"only_if_better":"true"}}',
    ],
)
def test_a_bid_with_a_field_twice_is_refused(body: str) -> None:
    assert fast(body.encode()) == reference(body.encode()) == Verdict(error=RepeatedField)


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le"])
def test_a_bid_in_another_encoding_is_refused_as_such(encoding: str) -> None:
    body = f'{{"session_id":"{ID}","price":2}}'.encode(encoding)
    assert fast(body) == reference(body) == Verdict(error=NotUtf8)


def test_a_byte_order_mark_is_skipped() -> None:
    body = f'{{"session_id":"{ID}","price":2}}'.encode("utf-8-sig")
    assert fast(body) == reference(body) == Verdict((UUID(ID), Decimal("2.00").as_tuple(), False))


def test_a_body_that_is_too_long_is_refused_alike() -> None:
    assert fast(None) == reference(None) == Verdict(error=BodyTooLarge)


def test_a_bid_as_most_are_does_not_need_the_schema(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tests above would pass if nothing were fast at all."""

    def fail(*_: object, **__: object) -> Any:
        raise AssertionError("by the schema")

    monkeypatch.setattr(schemas.BidRequest, "load", fail)
    for price in ("1", "250", "250.2", "250.25", "9999999999.99"):
        body = f'{{ "session_id": "{ID}", "price": {price} }}'.encode()
        assert read_bid(body) == (UUID(ID), Decimal(price), False)
    for flag in (True, False):
        body = f'{{"session_id":"{ID}","price":1,"only_if_better":{json.dumps(flag)}}}'.encode()
        assert read_bid(body) == (UUID(ID), Decimal(1), flag)
