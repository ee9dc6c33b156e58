"""Whole numbers as people, links and programs write them."""

from __future__ import annotations

MOST_DIGITS = 18
"""Of a number that a store holds."""


def whole_number(text: str, most_digits: int = MOST_DIGITS) -> int | None:
    """The number that a text of ASCII digits is; None for another text, and for one with more digits."""
    return int(text) if text.isascii() and text.isdecimal() and len(text) <= most_digits else None
