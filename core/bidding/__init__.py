"""Placing bids and reading where they stand: the path of a flash.

It knows sessions, members and the bid log; it does not know who asks, over which protocol.
"""
