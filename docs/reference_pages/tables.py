"""Markdown tables and anchors, as all generated pages use them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence


def markdown_table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table; bars and line breaks within a cell are escaped."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(map(_cell, line)) + " |" for line in lines) + "\n"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|") or " "


def code(text: object) -> str:
    """The text as inline code; empty for an empty text."""
    return f"`{text}`" if str(text) else ""


def plain(text: str) -> str:
    """The text with what Markdown would take for markup escaped, outside of inline code."""
    parts = text.split("`")
    parts[::2] = [re.sub(r"([*\[\]_])", r"\\\1", part).replace("<", "&lt;") for part in parts[::2]]
    return "`".join(parts)
