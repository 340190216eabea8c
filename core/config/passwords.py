"""Which passwords new accounts may choose."""

from dataclasses import dataclass

from core.config.reader import SettingsReader

# The least of NIST SP 800-63B, section 3.1.1.2, which also asks for a list of common ones.
_SHORTEST_GOOD_LENGTH = 8


@dataclass(frozen=True, slots=True)
class PasswordSettings:
    """The least length in characters, and whether easily guessed passwords are refused."""

    # The contract's bounds are 6 and 128 characters.
    min_length: int = 6
    refuse_common: bool = False

    @property
    def allows_weak(self) -> bool:
        """Whether a member may choose a password that an attacker tries early."""
        return self.min_length < _SHORTEST_GOOD_LENGTH or not self.refuse_common


def read_passwords(read: SettingsReader) -> PasswordSettings:
    return PasswordSettings(
        min_length=read.integer("PASSWORD_MIN_LENGTH", 6, low=6, high=64),
        refuse_common=read.flag("PASSWORD_REFUSE_COMMON", False),
    )
