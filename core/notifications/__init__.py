"""Results announced to members and to the shop: inbox, e-mail, webhooks.

It reads finished results and never changes them.
"""
