"""The error that the load test reports."""


class LoadTestError(Exception):
    """A problem the user can fix. The message is complete sentences."""
