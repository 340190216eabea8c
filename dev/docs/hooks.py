"""Hooks of `make docs`: pages from outside docs/, and pages made from the code, are part of it.

README.md is its first page. Links between these pages lead inside the site; links to other
files of the repository, which the site does not have, become plain text.
"""

import json
import re
import subprocess
import sys
from pathlib import Path
from posixpath import dirname, join, normpath, relpath

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

# Path in the repository -> path in the site.
PAGES_ELSEWHERE = {
    "README.md": "index.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
    "loadtest/README.md": "loadtest.md",
}
_DOCS = "docs/"
_LINK = re.compile(r"(?<!!)\[([^\]]*)\]\((?![a-z]+:|#)([^)#\s]+)(#[^)\s]*)?\)")
_PICTURE = re.compile(r'\b(src|srcset)="(?![a-z]+:)([^"]+)"')
_CODE = re.compile(r"(^```.*?^```|`[^`\n]*`)", re.DOTALL | re.MULTILINE)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages from outside docs/, and those that are made from the code."""
    project = Path(config.docs_dir).parent
    for source, target in PAGES_ELSEWHERE.items():
        files.append(File.generated(config, target, abs_src_path=str(project / source)))
    made = subprocess.run([sys.executable, "-m", "dev.docs"], cwd=project, stdout=-1, check=True)
    for target, text in json.loads(made.stdout).items():
        files.append(File.generated(config, target, content=text))
    return files


def on_page_markdown(markdown: str, page: Page, **_: object) -> str:
    """Lead links and pictures to where their targets are in the site."""
    return resolved(markdown, page.file.src_uri)


def resolved(markdown: str, site_path: str) -> str:
    """A page's text with its links as they are in the site; code is left alone."""
    sources = {target: source for source, target in PAGES_ELSEWHERE.items()}
    folder = dirname(sources.get(site_path, _DOCS + site_path))

    def lead(path: str) -> str | None:
        target = in_site(normpath(join(folder, path)))
        return None if target is None else relpath(target, dirname(site_path) or ".")

    def link(match: re.Match[str]) -> str:
        text, path, anchor = match.groups()
        target = lead(path)
        return text if target is None else f"[{text}]({target}{anchor or ''})"

    def picture(match: re.Match[str]) -> str:
        return f'{match[1]}="{lead(match[2]) or match[2]}"'

    parts = _CODE.split(markdown)
    # Every second part is code. A link whose text is code is put together again first.
    texts = [part if index % 2 == 0 else f"\0{index}\0" for index, part in enumerate(parts)]
    text = _PICTURE.sub(picture, _LINK.sub(link, "".join(texts)))
    return re.sub(r"\0(\d+)\0", lambda match: parts[int(match[1])], text)


def in_site(path: str) -> str | None:
    """Where a file of the repository is in the site; None when it is not there."""
    if path in PAGES_ELSEWHERE:
        return PAGES_ELSEWHERE[path]
    return path.removeprefix(_DOCS) if path.startswith(_DOCS) else None
