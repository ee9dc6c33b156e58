"""The parts that HTML of the night is made of: style, facts, links and tables; all text escaped."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from html import escape

MOST_CHARACTERS = 300
"""Of one stored text; the rest is cut off."""

STYLE = """
.ks { font-size: .9rem; line-height: 1.4 } .ks p { margin: 0 }
.ks a { color: inherit; text-decoration: underline }
.ks-dim { opacity: .8 } .ks-bad { color: light-dark(#a4271b, #ff9b8f) }
.ks-good { color: light-dark(#1a6b3c, #7fd6a0) }
.ks-alert { display: flex; gap: .4rem 1rem; align-items: center; justify-content: space-between }
.ks-alert > div { min-width: 0; overflow-wrap: anywhere } .ks-alert img { flex: none; max-width: 100% }
.ks-badge { border: 1px solid currentColor; border-radius: 4px; padding: 0 .4em;
  font-size: .8em; white-space: nowrap }
.ks-wide { overflow-x: auto } .ks table { border-collapse: collapse; width: 100%; margin: 0 }
.ks th, .ks td { text-align: left; padding: .2rem .8rem .2rem 0; border: 0; vertical-align: middle;
  border-bottom: 1px solid light-dark(#d5dae1, #39424e); font-weight: 400 }
.ks thead th { opacity: .8 } .ks .ks-number { text-align: right; white-space: nowrap }
.ks img { display: block }
@media (max-width: 640px) {
  .ks-alert { flex-wrap: wrap }
  .ks thead { display: none }
  .ks tr { display: flex; flex-wrap: wrap; gap: 0 1rem; padding: .3rem 0;
    border-bottom: 1px solid light-dark(#d5dae1, #39424e) }
  .ks th, .ks td, .ks .ks-number { border: 0; padding: 0; text-align: left }
  .ks tr > :first-child { flex: 1 1 100% }
  .ks td[data-title]::before { content: attr(data-title) " "; opacity: .8 }
}
"""


def text(given: object) -> str:
    """Any text escaped for HTML, on one line and cut to `MOST_CHARACTERS`."""
    line = " ".join(str(given).split())
    return escape(line if len(line) <= MOST_CHARACTERS else f"{line[:MOST_CHARACTERS]}…")


def block(*parts: str) -> str:
    """Parts that `STYLE` applies to."""
    return f'<div class="ks">{"".join(parts)}</div>'


def facts(line: Iterable[tuple[str, bool]]) -> str:
    """Facts in one line, bad news in colour and behind a sign."""
    shown = (text(fact) if good else f'<span class="ks-bad">▲ {text(fact)}</span>' for fact, good in line)
    return block(f"<p>{' · '.join(shown)}</p>")


def link(label: str, url: str | None) -> str:
    """A link that opens a page of its own; the escaped label alone without an address."""
    if url is None:
        return text(label)
    return f'<a href="{escape(url)}" target="_blank" rel="noopener noreferrer">{text(label)}</a>'


def table(header: Sequence[str], rows: Sequence[Sequence[str]], numbers: Collection[int] = ()) -> str:
    """A table of cells that are HTML already; columns of numbers are right-aligned, on a phone titled."""
    if not rows:
        return ""
    kinds = [' class="ks-number"' if place in numbers else "" for place in range(len(header))]
    head = "".join(f"<th{kind}>{text(title)}</th>" for kind, title in zip(kinds, header, strict=True))
    titled = [
        f' data-title="{text(title)}"' if place in numbers else "" for place, title in enumerate(header)
    ]
    body = "".join(
        "<tr>"
        + "".join(
            f"<td{kind}{title}>{cell}</td>" for kind, title, cell in zip(kinds, titled, row, strict=True)
        )
        + "</tr>"
        for row in rows
    )
    return block(
        f'<div class="ks-wide"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'
    )
