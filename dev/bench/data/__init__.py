"""Synthetic bids and boards."""
