"""The limit of open files; each connection is one."""

import resource

# A web process reserves some for its servers and logs; the rest is for clients.
MIN_OPEN_FILES = 1024


class TooFewOpenFiles(Exception):
    """The system allows this process too few open files. The message is for the operator."""


def raise_limit() -> int:
    """Raise this process's limit to the hard limit, and return that."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def ensure_minimum() -> None:
    """Raise a limit below the minimum to it. Raises TooFewOpenFiles if that is not allowed."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < MIN_OPEN_FILES:
        raise TooFewOpenFiles(
            f"{hard} open files are allowed here, but {MIN_OPEN_FILES} are needed: one for each "
            "connection. Raise the limit with `ulimit -n`, or LimitNOFILE= under systemd."
        )
    if soft != resource.RLIM_INFINITY and soft < MIN_OPEN_FILES:
        resource.setrlimit(resource.RLIMIT_NOFILE, (MIN_OPEN_FILES, hard))
