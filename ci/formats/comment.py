"""The comment on a change: nothing on a calm one, the worst first, the rest folded, never over the limit.

It begins with `MARKER`, by which the next one replaces it.
"""

from __future__ import annotations

from collections.abc import Sequence

from kswatch.ci.formats.escape import markdown_table

MARKER = "<!-- kswatch -->"
"""The first line of each comment."""
LARGEST_COMMENT = 65_536
"""Characters of a comment on GitHub, the host with the lowest limit."""
SHOWN = 5
"""Rows outside the fold."""
FOLDED = 200
_FOLD_END = "\n\n</details>"


def comment(
    headline: str,
    header: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    notes: Sequence[str] = (),
    folded: str = "",
    link: str = "",
) -> str:
    """A comment whose table shows the first rows, and all of them when it is unfolded.

    Args:
        headline: The outcome in one line of Markdown.
        header: Of the table, as Markdown.
        rows: The worst first; their cells are escaped.
        notes: Lines of Markdown below the headline.
        folded: Markdown that is shown when it is unfolded.
        link: The address of the whole result; empty where there is none.
    """
    parts = [MARKER, headline, *notes]
    if rows:
        parts.append(markdown_table(header, rows[:SHOWN]))
    if len(rows) > SHOWN:
        listed = f"all {len(rows)}" if len(rows) <= FOLDED else f"the first {FOLDED} of {len(rows)}"
        parts.append(fold(listed, markdown_table(header, rows[:FOLDED])))
    if folded:
        parts.append(fold("details", folded))
    if link:
        parts.append(f"[the whole result]({link})")
    return cut("\n\n".join(parts) + "\n", LARGEST_COMMENT, link)


def fold(summary: str, text: str) -> str:
    """Markdown that is shown when its summary is clicked."""
    return f"<details><summary>{summary}</summary>\n\n{text}{_FOLD_END}"


def cut(text: str, most: int, link: str = "") -> str:
    """The text within `most` characters: cut at a line, its folds closed, with a link to the whole."""
    if len(text) <= most:
        return text
    whole = f"[the whole result]({link})" if link else "the log has the whole result"
    tail = f"\n\nCut at the {most:,} characters of a comment; {whole}.\n"
    kept = text[: most - len(tail) - 10 * len(_FOLD_END)]
    kept = kept[: kept.rfind("\n")] if "\n" in kept else kept
    return kept + _FOLD_END * (kept.count("<details>") - kept.count("</details>")) + tail


def joined(parts: Sequence[str], most: int = LARGEST_COMMENT, link: str = "") -> str:
    """One comment of those of several jobs; empty where each is."""
    found = [body for part in parts if (body := part.strip().removeprefix(MARKER).strip())]
    return cut("\n\n".join([MARKER, *found]) + "\n", most, link) if found else ""
