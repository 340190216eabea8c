"""The bid log: moves accepted bids from Redis to PostgreSQL and records incidents.

It knows nothing of placing bids and never decides whether one is accepted.
"""
