"""The comment on a change: nothing on a calm one, the worst first, the rest folded, never over the limit.

It begins with `MARKER`, by which the next one replaces it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from kswatch.ci.formats.escape import markdown, markdown_table

MARKER = "<!-- kswatch -->"
"""The first line of each comment."""
LARGEST_COMMENT = 65_536
"""Characters of a comment on GitHub, the host with the lowest limit."""
SHOWN = 5
"""Rows outside the fold."""
FOLDED = 200
_FOLD_END = "\n\n</details>"
_HOST_COMMAND = re.compile(r"^([ \t]*)/(?=\w)", re.MULTILINE)
"""A line that GitLab takes for a command of the comment's author, as `/close`."""


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
    kept, size, folds = [], len(tail), 0
    for line in text.splitlines(keepends=True):
        size += len(line)
        opened = max(folds + line.count("<details>") - line.count("</details>"), 0)
        if size + opened * len(_FOLD_END) > most:
            break
        kept.append(line)
        folds = opened
    return "".join(kept).rstrip() + _FOLD_END * folds + tail


def joined(parts: Sequence[str], most: int = LARGEST_COMMENT, link: str = "") -> str:
    """One comment of those of several jobs; empty where each is."""
    found = [body for part in parts if (body := part.strip().removeprefix(MARKER).strip())]
    whole = _HOST_COMMAND.sub(r"\1\/", "\n\n".join([MARKER, *found]))
    return cut(whole + "\n", most, link) if found else ""


def not_finished(name: str) -> str:
    """The comment in place of that of a job which wrote none."""
    return comment(f"**{markdown(name)}** did not finish; the log of its job has more", (), ())
