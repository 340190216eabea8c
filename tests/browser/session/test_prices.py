"""Prices as people type them, in many locales."""

from collections.abc import Callable
from random import Random

import pytest
from playwright.sync_api import expect

from tests.browser.board import NewSession, Visit
from tests.support.http.client import Client

PARSE = """async (cases) => {
  const { parsePrice } = await import("/board/lib/prices.js");
  return cases.map(([text, locale, currency]) => {
    const { price, problem } = parsePrice(text, currency ?? "EUR", locale);
    return price ?? problem;
  });
}"""
# What Intl shows in one locale, read in another one.
FORMATTED = """async ([prices, locales, currency]) => {
  const { parsePrice } = await import("/board/lib/prices.js");
  const wrong = [];
  for (const shown of locales) for (const read of locales) for (const price of prices) {
    const text = new Intl.NumberFormat(shown, { style: "currency", currency }).format(price);
    const bare = new Intl.NumberFormat(shown, { minimumFractionDigits: 2 }).format(price);
    for (const typed of shown === read ? [text, bare] : [bare]) {
      const found = parsePrice(typed, currency, read);
      const isRefused = found.problem && shown !== read;
      if (found.price !== price && !isRefused) wrong.push([shown, read, typed, found]);
    }
  }
  return wrong;
}"""
LOCALES = [
    *("en-US", "en-GB", "en-IN", "en-CA", "en-ZA", "de-DE", "de-AT", "de-CH", "fr-FR", "fr-CH"),
    *("es-ES", "es-MX", "it-IT", "it-CH", "pt-BR", "pt-PT", "nl-NL", "pl-PL", "cs-CZ", "hu-HU"),
    *("sv-SE", "nb-NO", "da-DK", "fi-FI", "ru-RU", "uk-UA", "tr-TR", "ja-JP", "ko-KR", "zh-CN"),
    *("ar-EG", "fa-IR", "hi-IN", "bn-BD", "he-IL", "th-TH", "vi-VN", "id-ID"),
]
CASES = [
    ("250,50", "de", 250.5),
    ("250,50", "en", 250.5),
    ("250.50", "de", 250.5),
    ("250.5", "en", 250.5),
    ("1.250,50", "de", 1250.5),
    ("1,250.50", "en", 1250.5),
    ("1.250,50", "en", 1250.5),
    ("1,250.50", "de", 1250.5),
    ("1'250.50", "de-CH", 1250.5),
    ("1\u2019250.50", "de-CH", 1250.5),
    ("1 250,50", "fr", 1250.5),
    ("1\u202f250,50 €", "fr", 1250.5),
    ("1\u00a0250,50", "ru", 1250.5),
    ("1,25,000.50", "en-IN", 125000.5),
    ("1,250", "en", 1250),
    ("1.250", "de", 1250),
    ("1.250.000", "en", 1250000),
    ("1,250", "de", "unclear"),
    ("1.250", "en", "unclear"),
    ("250,505", "de", "unclear"),
    ("1,250,00", "en", "invalid"),
    ("1.2.3", "en", "invalid"),
    ("12 50", "en", "invalid"),
    ("-5", "en", "invalid"),
    ("1e5", "en", "invalid"),
    ("two", "en", "invalid"),
    (" ", "en", "empty"),
    ("€ 250", "en", 250),
    ("250 EUR", "de", 250),
    ("250,\u2013", "de", 250),
    ("\u0662\u0665\u0660\u066b\u0665", "ar-EG", 250.5),
    ("\u06f1\u06f2\u06f5\u06f0", "fa", 1250),
    ("9,999,999,999.99", "en", 9999999999.99),
    ("10000000000", "en", "large"),
]
CURRENCIES = [
    ("1,250", "en", "JPY", 1250),
    ("1.250", "ja", "JPY", "unclear"),
    ("250,50", "en", "JPY", "invalid"),
    ("1.250", "en", "KWD", 1.25),
    ("1.255", "en", "KWD", "unclear"),
    ("1,250", "de", "KWD", 1.25),
]


def test_each_text_is_read_as_its_locale_means_it_or_refused(visit: Visit) -> None:
    page = visit().go().page
    found = page.evaluate(PARSE, [[text, locale] for text, locale, _ in CASES])
    cases = zip(CASES, found, strict=True)
    assert [(text, locale, answer) for (text, locale, _), answer in cases] == CASES
    answers = page.evaluate(PARSE, [list(case[:3]) for case in CURRENCIES])
    assert answers == [price for *_, price in CURRENCIES]


def test_what_one_locale_shows_no_other_reads_as_another_price(visit: Visit) -> None:
    chance = Random(7)
    cents = [chance.randrange(10 ** chance.randrange(1, 13)) for _ in range(60)]
    prices = [each / 100 for each in (*cents, 25050, 125050, 999_999_999_999)]
    page = visit().go().page
    assert page.evaluate(FORMATTED, [prices, LOCALES, "EUR"]) == []
    assert page.evaluate(FORMATTED, [prices, LOCALES, "CHF"]) == []


@pytest.mark.parametrize(
    ("locale", "typed", "shown"),
    [
        ("de-DE", "250,50", "250,50\u00a0€"),
        ("de-DE", "250.50", "250,50\u00a0€"),
        ("fr-FR", "250,50", "250,50\u00a0€"),
        ("en-US", "250.50", "€250.50"),
        ("de-CH", "250.50", "EUR\u00a0250.50"),
    ],
)
def test_a_bid_has_the_price_that_was_typed(
    visit: Visit,
    new_session: NewSession,
    member: Callable[..., Client],
    locale: str,
    typed: str,
    shown: str,
) -> None:
    session_id, own = new_session(beta=0)["session_id"], member()
    visitor = visit(own, locale=locale).watch(session_id)
    field = visitor.page.get_by_label("Your price")
    expect(field).to_have_attribute("inputmode", "decimal")
    field.fill(typed)
    visitor.page.get_by_role("button", name="Place bid").click()
    expect(visitor.standing).to_contain_text(f"1st place with {shown}: winning")
    assert own.get(f"/api/leaderboard/{session_id}/me").json["price"] == 250.5


@pytest.mark.parametrize(
    ("locale", "typed", "told"),
    [
        ("de-DE", "1,250", "This can mean two prices. Write it like 1250,50, without signs"),
        ("en-US", "1.250", "This can mean two prices. Write it like 1250.50, without signs"),
        ("en-US", "2 for 1", "This is no price. Write it like 1250.50."),
        ("en-US", "", "Write a price, for example 1250.50."),
    ],
)
def test_a_price_that_is_not_clear_is_refused_with_a_sentence(
    visit: Visit,
    new_session: NewSession,
    member: Callable[..., Client],
    locale: str,
    typed: str,
    told: str,
) -> None:
    visitor = visit(member(), locale=locale).watch(new_session()["session_id"])
    visitor.page.get_by_label("Your price").fill(typed)
    visitor.page.get_by_role("button", name="Place bid").click()
    alert = visitor.page.get_by_role("form", name="Bid").get_by_role("alert")
    expect(alert).to_contain_text(told)
    assert not [url for url in visitor.requested if url.endswith("/api/bid")]
