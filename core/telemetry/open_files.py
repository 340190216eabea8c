"""The limit of open files; each connection is one."""

import resource


def raise_limit() -> int:
    """Raise this process's limit to the hard limit, and return that."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard
