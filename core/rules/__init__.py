"""Pure rules: scores, weights, a session's states. Standard library only."""
