"""Announces results to members and the shop: inbox, e-mail, webhooks.

It reads final results and never changes them.
"""
