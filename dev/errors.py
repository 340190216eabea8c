"""What the tools of this package say when they cannot go on."""


class DevError(Exception):
    """Something the developer can mend. The message is made of whole sentences."""
