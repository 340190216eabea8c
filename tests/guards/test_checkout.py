"""Every checkout has the same bytes, whatever its owner's git converts."""

import subprocess

from core.config import PROJECT_ROOT


def git(*arguments: str, text: str = "") -> str:
    done = subprocess.run(  # noqa: S603 - a question to git
        ["git", *arguments],  # noqa: S607 - wherever git is
        cwd=PROJECT_ROOT,
        input=text,
        check=True,
        capture_output=True,
        text=True,
    )
    return done.stdout


def test_every_text_has_line_feeds_in_every_checkout() -> None:
    files = git("ls-files", "-z")
    answer = git("check-attr", "-z", "--stdin", "eol", "binary", text=files).split("\0")
    attributes = zip(answer[::3], answer[1::3], answer[2::3], strict=False)
    right = {name for name, *attribute in attributes if tuple(attribute) in RIGHT}
    assert set(files.split("\0")) - right == {""}
    assert "\ti/crlf" not in git("ls-files", "--eol")


RIGHT = {("eol", "lf"), ("binary", "set")}
