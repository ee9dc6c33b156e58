"""Escaping of text from commits, files and users, for each place in which it is shown."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from kswatch.db.cli.terminal import escape

_NOT_XML = "[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]"
"""Characters that XML 1.0 cannot hold (its production Char); compiled on first use, since that is slow."""
_MARKUP = re.compile(r'([\\`*_\[\]<>|~#!$]|[%^](?=[\w"]))')
"""Signs of Markdown, of formulas, and of GitLab's references to labels, milestones, requests and snippets."""
_REFERENCE = re.compile(r"@|:(?=//)|www(?=\.)|#(?=\d)|gh(?=-\d)", re.IGNORECASE)
"""What GitHub makes a mention, a link or a reference of, also behind a backslash; broken by a comment."""
_BROKEN_WORD = "<!-- -->"


def plain(text: str) -> str:
    """The text in one line without control characters, so that it cannot steer a terminal."""
    shown = (character for character in text if character.isprintable() or character.isspace())
    return " ".join("".join(shown).split())


def markdown(text: str) -> str:
    """The text in one line that Markdown shows literally: no markup, link, reference or end of a cell."""
    escaped = _MARKUP.sub(r"\\\1", plain(text).replace("&", "&amp;"))
    return _REFERENCE.sub(lambda found: found[0] + _BROKEN_WORD, escaped)


def markdown_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table; the cells are escaped."""
    lines = [header, ["---"] * len(header), *([markdown(cell) for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def xml_text(text: str) -> str:
    """The text, which may have several lines, without characters that XML cannot hold; not escaped."""
    return re.sub(_NOT_XML, "\ufffd", text)


def annotation(level: str, title: str, message: str) -> str:
    """A GitHub workflow command (github.com/actions/toolkit, command.ts): error, warning or notice."""
    return f"::{level} title={annotation_property(title)}::{annotation_text(message)}"


def annotation_text(text: str) -> str:
    """The message of a GitHub workflow command."""
    return escape(text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A"))


def annotation_property(text: str) -> str:
    """The value of a property of a GitHub workflow command."""
    return annotation_text(text).replace(":", "%3A").replace(",", "%2C")
