"""What counts as a line of our own code."""

from core.config import PROJECT_ROOT
from dev.bench.own_lines import PATTERNS, count, count_in

SOURCE = '''"""A module.

With a docstring of some lines.
"""

import os  # 1, and a comment does not hide it

# A comment.


class Thing:  # 2
    """A thing."""

    name = """text
    of two lines"""  # 3 and 4

    def act(
        self,
    ) -> None:  # 5, 6 and 7
        """Act."""
        os.getpid()  # 8
'''


def test_blank_lines_comments_and_docstrings_are_no_code() -> None:
    assert count_in(SOURCE) == 8


def test_all_that_is_named_is_there_and_counted() -> None:
    found = [set(PROJECT_ROOT.glob(pattern)) for pattern in PATTERNS]
    assert all(found)
    assert count() == sum(count_in(path.read_text()) for path in set().union(*found))
