"""Members: accounts, roles, revoked tokens, weights. Imports nothing about bidding."""
