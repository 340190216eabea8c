"""The bid script without the members' rate limit, to measure the limit's cost.

A limit that is off still maintains its buckets; the product has no switch for that.
"""

_FUNCTION_BEGINS, _FUNCTION_ENDS = "-- The tokens left in", "-- Decides one bid"
_USE_BEGINS, _USE_ENDS = "  local tokens = tokens_of(old)\n", "  -- The first bid fixes the weight"
_LIMITS = "local rate, burst, trust = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])"
_OTHERS = (
    ", 'tokens', 'tokens_at'",
    "tokens = text(tokens), ",
    ", 'tokens', bid.tokens, 'tokens_at', bid[7]",
)


def without_bucket(source: str) -> str:
    """place_bids.lua without the code for buckets."""
    source = _replaced(source, _LIMITS, "local trust = tonumber(ARGV[3])")
    for begins, ends in ((_FUNCTION_BEGINS, _FUNCTION_ENDS), (_USE_BEGINS, _USE_ENDS)):
        _require_once(source, begins)
        _require_once(source, ends)
        source = _replaced(source, source[source.index(begins) : source.index(ends)], "")
    for part in _OTHERS:
        source = _replaced(source, part, "")
    return source


def _replaced(source: str, part: str, by: str) -> str:
    _require_once(source, part)
    return source.replace(part, by)


def _require_once(source: str, part: str) -> None:
    if source.count(part) != 1:
        raise ValueError(f"place_bids.lua must contain this part exactly once: {part}")
