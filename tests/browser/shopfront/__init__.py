"""What members see before and after the board of a session."""
