"""Text that came from commits, files or people, made harmless in each place that it is shown."""

from __future__ import annotations

import re

_NOT_XML = "[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]"
"""What XML 1.0 cannot hold (its production Char); compiled when it is first used, which takes a while."""
_MARKUP = re.compile(r"([\\`*_\[\]<>|~#!])")
_BROKEN_WORD = "<!-- -->"
"""A comment between two characters: GitHub then sees neither a mention nor a link to follow."""


def plain(text: str) -> str:
    """Text in one line without control characters: it can neither end the line nor steer a terminal."""
    shown = (character for character in text if character.isprintable() or character.isspace())
    return " ".join("".join(shown).split())


def markdown(text: str) -> str:
    """Text that Markdown shows as it is, in one line: no markup, link or mention, and no table cell ends."""
    escaped = _MARKUP.sub(r"\\\1", plain(text).replace("&", "&amp;"))
    for word, broken in (
        ("@", "@" + _BROKEN_WORD),
        ("://", ":" + _BROKEN_WORD + "//"),
        ("www.", "www" + _BROKEN_WORD + "."),
    ):
        escaped = escaped.replace(word, broken)
    return escaped


def xml_text(text: str) -> str:
    """Text of several lines that an XML document can hold; whoever writes the document escapes it."""
    return re.sub(_NOT_XML, "\ufffd", text)


def annotation_text(text: str) -> str:
    """The message of a GitHub workflow command (github.com/actions/toolkit, command.ts)."""
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def annotation_property(text: str) -> str:
    """A property's value of a GitHub workflow command."""
    return annotation_text(text).replace(":", "%3A").replace(",", "%2C")
