"""Commits and ranges of commits as links to the repository, where its address is known."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import streamlit as st

from kswatch.dashboard.data import queries as cached_queries
from kswatch.dashboard.data.server_settings import repository_url
from kswatch.dashboard.formatting.code_urls import SHORT_COMMIT, commit_url, range_url
from kswatch.dashboard.formatting.labels import count, literal
from kswatch.db.queries.page_queries import MeasuredRevision
from kswatch.db.records import RevisionRecord

UNKNOWN = "unknown"
MOST_SUSPECTS = 5
"""Commits that a sentence names; the others are counted."""


def commit_link(commit: str | None) -> str:
    """A commit as Markdown: a link, or its short hash where the repository's address is unknown."""
    return _link(_short(commit), commit_url(repository_url(), commit))


def range_link(good: str | None, bad: str | None) -> str:
    """The commits after `good` up to `bad` as Markdown; one commit where both are the same."""
    if good == bad:
        return commit_link(bad)
    return _link(f"{_short(good)}..{_short(bad)}", range_url(repository_url(), good, bad))


def revision_link(revision: RevisionRecord | MeasuredRevision) -> str:
    """A commit as Markdown, with a mark of uncommitted changes and its subject."""
    rest = f"{' dirty' if revision.dirty else ''} {revision.subject or ''}".rstrip()
    return f"{commit_link(revision.commit)} {literal(rest)}".rstrip()


def show_suspects(device_id: int, good_run: int | None, bad_run: int | None) -> None:
    """Draw the commits measured after a good run up to a bad one, with the range, in one line."""
    if good_run is None or bad_run is None:
        return
    found = cached_queries.revisions_between(device_id, good_run, bad_run)
    if found:
        st.caption(suspects_text(cached_queries.run(good_run).revision, found))


def suspects_text(good: RevisionRecord | None, found: Sequence[MeasuredRevision]) -> str:
    """The commits measured after a good one, as Markdown; there is at least one."""
    named = ", ".join(map(revision_link, found[:MOST_SUSPECTS]))
    more = f" and {len(found) - MOST_SUSPECTS} more" if len(found) > MOST_SUSPECTS else ""
    between = f"; all commits: {range_link(good.commit, found[-1].commit)}" if good else ""
    return f"{literal(count(len(found), 'measured suspect'))}: {named}{more}{between}"


def table_links(
    ranges: Sequence[tuple[str | None, str | None]],
) -> tuple[list[str | None], dict[str, Any]]:
    """A column `commit` or `commits` for the commits after the first up to the second of each pair.

    One commit where both are the same or the first is unknown; an empty cell where the second is.

    Returns:
        The cells, and the configuration of the table's columns.
    """
    address = repository_url()
    urls = [range_url(address, good, bad) if good != bad else None for good, bad in ranges]
    urls = [url or commit_url(address, bad) for url, (_, bad) in zip(urls, ranges, strict=True)]
    if any(url is None and bad is not None for url, (_, bad) in zip(urls, ranges, strict=True)):
        return [_range_text(good, bad) for good, bad in ranges], {}
    column = st.column_config.LinkColumn(display_text=r"([0-9a-f.]+)$")
    return list(urls), {"commit": column, "commits": column}


def _range_text(good: str | None, bad: str | None) -> str | None:
    if bad is None or good == bad:
        return bad and _short(bad)
    return f"{_short(good)}..{_short(bad)}"


def _short(commit: str | None) -> str:
    return commit[:SHORT_COMMIT] if commit else UNKNOWN


def _link(text: str, url: str | None) -> str:
    return f"[{literal(text)}]({url})" if url else literal(text)
