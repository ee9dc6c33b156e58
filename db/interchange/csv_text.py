"""Texts in CSV files that spreadsheets open: a cell that begins like a formula would be executed."""

from __future__ import annotations

_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "|", "%")
_MARK = "'"


def guard(text: str) -> str:
    """The text as a spreadsheet shows it: an apostrophe stands before what would begin a formula."""
    return _MARK + text if text.startswith(_FORMULA) or _is_guarded(text) else text


def unguard(text: str) -> str:
    """The text that was guarded; any other text as it is."""
    return text[1:] if _is_guarded(text) else text


def _is_guarded(text: str) -> bool:
    """Whether it begins with apostrophes before the beginning of a formula."""
    return text.startswith(_MARK) and text.lstrip(_MARK).startswith(_FORMULA)
