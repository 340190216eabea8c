"""The death of a process, in a test that goes on without it."""


class Killed(BaseException):
    """The process ends here; what its transaction did is gone."""
