"""Open files: each connection is one."""

import resource


def raise_limit() -> int:
    """Raise this process's limit of open files as far as the system lets it; the limit."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard
