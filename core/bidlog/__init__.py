"""The bid log: every accepted bid's way from Redis into PostgreSQL, and what went wrong on it.

It knows nothing of placing, and never decides whether a bid is accepted.
"""
