"""From winner to order: what a winner pays, offers and exports.

Knows sessions and what is below; not bidding, nor how members and shops are notified.
"""
