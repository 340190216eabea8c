"""How often one may ask. 0 switches a limit off."""

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class LimitSettings:
    """Quotas, and the Redis that counts; its URL may carry a password."""

    storage_url: str = field(repr=False)
    # By address: everybody behind one router shares these.
    registrations_per_minute: int
    logins_per_minute: int
    reads_per_minute: int
    # By address and name together: registering or logging in with one name.
    tries_per_minute: int
    # By account, from addresses it never logged in from.
    stranger_logins_per_hour: int
    # By member.
    member_reads_per_minute: int
