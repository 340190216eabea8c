"""What the load test says when it cannot go on."""


class LoadTestError(Exception):
    """Something the person at the terminal can mend. The message is whole sentences."""
