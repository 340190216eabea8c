"""Where pictures of products may be. Pure."""

import re
from dataclasses import dataclass

from core import errors

MAX_URL_LENGTH = 2000
# What follows the host: the printable ASCII characters that a URL may have. RFC 3986, appendix A.
_PATH = re.compile(r"/[\w.~%!$&'()*+,;=:@/?#-]*", re.ASCII)


@dataclass(frozen=True, slots=True)
class ImageHosts:
    """The hosts of IMAGE_HOSTS, in lower case; none: products have no pictures."""

    names: tuple[str, ...] = ()

    def require(self, url: str | None) -> None:
        """Raises InvalidImageUrl unless the URL is allowed; None, no picture, always is."""
        if url is not None and not self.allow(url):
            raise errors.InvalidImageUrl(self.origins)

    def allow(self, url: str) -> bool:
        """Whether it is an https URL on exactly one of the hosts, in the one plain spelling.

        The URL is compared as text, never parsed: what two parsers read differently (user names,
        ports, other dots, capitals) does not begin like any of these.
        """
        return any(
            _PATH.fullmatch(url.removeprefix(origin)) is not None
            for origin in self.origins
            if url.startswith(origin)
        )

    @property
    def origins(self) -> tuple[str, ...]:
        """As a content security policy names them."""
        return tuple(f"https://{name}" for name in self.names)
