"""Bidding sessions: their terms, loading into Redis, closing and results.

It knows nothing of placing bids.
"""
