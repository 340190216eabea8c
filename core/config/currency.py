"""The one currency of a shop."""

from iso4217 import Currency

from core.config.reader import ConfigError, SettingsReader

# Prices have two decimals in the database, in Redis and in the contract.
_DECIMALS = 2


def read_currency(read: SettingsReader) -> str:
    """Its code. The decimals are ISO 4217's; those of CLDR are only a matter of display."""
    code = read.text("CURRENCY", "EUR")
    try:
        decimals = Currency(code).exponent
    except ValueError:
        raise ConfigError(
            f"CURRENCY must be a code of ISO 4217 like EUR, but is {code!r}."
        ) from None
    if decimals != _DECIMALS:
        raise ConfigError(
            f"CURRENCY must be one with two decimals, as prices have here, but {code} has "
            f"{decimals or 'none'}."
        )
    return code
