"""The script of a bid without the members' rate limit, to measure what the limit costs.

A limit that is off still keeps its bucket: the product has no switch for that.
"""

_BUCKET_BEGINS = "local rate, burst = "
_BUCKET_ENDS = "-- The first bid fixes the weight"


def without_bucket(source: str) -> str:
    """place_bid.lua without what reads, fills and writes a bucket."""
    bucket = source[source.index(_BUCKET_BEGINS) : source.index(_BUCKET_ENDS)]
    read, written = (
        ", 'tokens', 'tokens_at'",
        ",\n  'tokens', text(tokens), 'tokens_at', bid.accepted_at",
    )
    for part in (read, bucket, written):
        if source.count(part) != 1:
            raise ValueError(f"place_bid.lua does not have once what is to be left out: {part}")
        source = source.replace(part, "")
    return source
