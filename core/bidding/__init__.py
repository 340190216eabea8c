"""Placing bids, and reading boards and bid histories.

It uses sessions, members and the bid log; it knows nothing of the web.
"""
