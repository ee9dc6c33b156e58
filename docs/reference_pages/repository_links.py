"""Links from pages to files outside `docs/`: the files become pages of the site, which needs no code host."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
PREFIX = "source/"
"""Where the site has files from outside `docs/`."""
DOT = "dot-"
"""Instead of a dot at the start of a name, which MkDocs would leave out."""
LINK = re.compile(r"(?<=\]\()(?P<target>[^)\s#]*)(?P<anchor>#[^)\s]*)?(?=\))")
PICTURES = {".png", ".svg"}
LEXERS = {".py": "python", ".toml": "toml", ".yml": "yaml", ".yaml": "yaml", ".cu": "cuda", ".cuh": "cuda"}


def origin(uri: str) -> str:
    """The file of the repository that a page of the site is made of."""
    if uri.startswith(PREFIX):
        path = re.sub(rf"(^|/){DOT}", r"\1.", uri.removeprefix(PREFIX))
        return path if (ROOT / path).is_file() else path.removesuffix(".md")
    return f"docs/{uri}"


def page_of(path: str) -> str:
    """The page, or the picture, of the site that shows a file of the repository."""
    if path.startswith("docs/"):
        return path.removeprefix("docs/")
    shown = path if path.endswith(".md") or Path(path).suffix in PICTURES else f"{path}.md"
    return PREFIX + re.sub(r"(^|/)\.", rf"\1{DOT}", shown)


def rewritten(text: str, uri: str) -> str:
    """The text of a page with each link to a file of the repository replaced by one to its page.

    Raises:
        FileNotFoundError: a link leads to no file.
    """

    def replaced(found: re.Match[str]) -> str:
        path = _linked(found["target"], origin(uri))
        if path is None:
            return found[0]
        return posixpath.relpath(page_of(path), posixpath.dirname(uri) or ".") + (found["anchor"] or "")

    return LINK.sub(replaced, text)


def linked_files(text: str, path: str) -> Iterator[str]:
    """The files outside `docs/` that a document of the repository links to."""
    for found in LINK.finditer(text):
        target = _linked(found["target"], path)
        if target is not None and not target.startswith("docs/"):
            yield target


def _linked(target: str, document: str) -> str | None:
    """The file that a link means; None for an address on the web or a place on the same page."""
    if not target or ":" in target:
        return None
    path = posixpath.normpath(posixpath.join(posixpath.dirname(document), target))
    for candidate in (path, f"{path}/README.md", f"{path}/__init__.py"):
        if candidate.startswith("docs/") or (ROOT / candidate).is_file():
            return candidate
    raise FileNotFoundError(f"{document} links to {target}, which does not exist")


def closure(documents: Iterable[tuple[str, str]]) -> list[str]:
    """Every file outside `docs/` that these documents (path and text) lead to, also by one another."""
    waiting = [found for path, text in documents for found in linked_files(text, path)]
    known: dict[str, None] = {}
    while waiting:
        path = waiting.pop()
        if path in known:
            continue
        known[path] = None
        if path.endswith(".md"):
            waiting += linked_files((ROOT / path).read_text(encoding="utf-8"), path)
    return list(known)


def source_page(path: str) -> str:
    """The page that shows a file: a document as it is, any other as code."""
    text = (ROOT / path).read_text(encoding="utf-8")
    if path.endswith(".md"):
        return text
    lexer = LEXERS.get(Path(path).suffix, "text")
    return f"---\nsearch:\n  exclude: true\n---\n\n# {path}\n\n``````{lexer}\n{text}``````\n"
