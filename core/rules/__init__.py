"""The pure rules: score, weight, a session's states. Standard library only."""
