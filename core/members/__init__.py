"""Members: accounts, roles, revoked tokens, weights. It knows nothing of sessions' bids."""
