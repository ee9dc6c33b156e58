"""The documents of the repository, read as tests need them: code blocks, commands, links."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCUMENTS = sorted(
    [
        *(ROOT / "docs").rglob("*.md"),
        ROOT / "README.md",
        ROOT / "CONTRIBUTING.md",
        ROOT / "SECURITY.md",
    ]
)
TESTED_ELSEWHERE = ("distil_a_dense_layer.md", "add_", "measure_your_own_kernel.md")
"""Guides whose blocks have tests of their own: in tests/kernels and tests/extension."""

_FENCE = re.compile(
    r"(?:^<!-- not run: (?P<reason>[^>]+?) -->\n)?"
    r"^(?P<fence>```+)(?P<language>\w*)[^\n]*\n(?P<text>.*?)^(?P=fence)$",
    re.DOTALL | re.MULTILINE,
)


@dataclass(frozen=True)
class Block:
    """A fenced block of a document; the reason is that for which it is not executed, if it is not."""

    language: str
    text: str
    reason: str | None


def name(path: Path) -> str:
    """The document's path in the repository."""
    return path.relative_to(ROOT).as_posix()


def has_own_test(path: Path) -> bool:
    """Whether another test executes the blocks of this document."""
    return path.name.startswith(TESTED_ELSEWHERE)


def blocks(path: Path) -> list[Block]:
    """The fenced blocks of a document, in their order."""
    text = path.read_text(encoding="utf-8")
    return [Block(one["language"], one["text"], one["reason"]) for one in _FENCE.finditer(text)]


def executed(path: Path, language: str) -> list[str]:
    """The text of the blocks of a language that are executed."""
    return [one.text for one in blocks(path) if one.language == language and not one.reason]


def not_executed(path: Path) -> list[str]:
    """The reasons of the blocks that are not executed, in their order."""
    return [one.reason for one in blocks(path) if one.reason]


def command_lines(path: Path) -> Iterator[str]:
    """Lines of code, in blocks of any kind and inline, that begin with a command of ours or with make."""
    text = re.sub(r"\\\n\s*", "", path.read_text(encoding="utf-8"))
    inline = re.findall(r"(?<!`)`([^`\n]+)`(?!`)", text)
    indented = re.findall(r"^ {4,}(.*)$", text, re.MULTILINE)
    fenced = [line.strip() for block in blocks(path) for line in block.text.splitlines()]
    for line in [*fenced, *indented, *inline]:
        found = re.match(r"(?:\w+=\S* )*(?:\.venv/bin/)?(?P<line>(?:kswatch|make) [a-z-].*)", line)
        if found:
            yield re.split(r"\s{2,}# |\s# |[|>;]| && ", found["line"])[0].strip()
