"""Stored text escaped for Streamlit's Markdown: it must appear exactly as it was written."""

from __future__ import annotations

import re

_SPECIAL = re.compile(r"([\\`*_{}\[\]()#+\-.!|<>~$:&@/^=\"'])")


def literal(text: object) -> str:
    """The text with every special character of Markdown, LaTeX and Streamlit directives escaped.

    Line breaks become spaces: a second line could begin a heading or a list.
    """
    return _SPECIAL.sub(r"\\\1", " ".join(str(text).split()))
