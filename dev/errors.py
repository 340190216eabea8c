"""The error that the tools of this package report."""


class DevError(Exception):
    """A problem the developer can fix. The message is complete sentences."""
