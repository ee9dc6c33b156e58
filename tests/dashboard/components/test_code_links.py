"""Commits as Markdown and in tables, with and without the address of the repository."""

from collections.abc import Callable

import pytest
from streamlit.testing.v1 import AppTest

from kswatch.dashboard.components import code_links
from kswatch.dashboard.data.server_settings import REPOSITORY_URL
from kswatch.dashboard.formatting.labels import literal
from kswatch.db.queries import basic as queries
from kswatch.db.queries.page_queries import MeasuredRevision
from kswatch.db.records import RevisionRecord
from kswatch.db.store import Store
from tests.dashboard.simulated_store import NASTY

GOOD, BAD = "a" * 40, "b" * 40
REPOSITORY = "https://github.com/owner/name"


@pytest.fixture
def linked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(REPOSITORY_URL, REPOSITORY)


def test_a_commit_is_a_link_beside_its_escaped_subject(linked: None) -> None:
    shown = code_links.revision_link(RevisionRecord(BAD, subject=NASTY, dirty=True))
    assert shown == f"[{'b' * 12}]({REPOSITORY}/commit/{'b' * 12}) dirty {literal(NASTY)}"


def test_suspects_are_named_with_the_range_and_counted_beyond_five(linked: None) -> None:
    found = [
        MeasuredRevision(f"{place}" * 40, False, f"change {place}", None, place) for place in range(1, 8)
    ]
    shown = code_links.suspects_text(RevisionRecord(GOOD), found)
    assert shown.startswith(f"7 measured suspects: [{'1' * 12}]({REPOSITORY}/commit/{'1' * 12}) change 1")
    assert "change 5 and 2 more" in shown and "change 6" not in shown
    assert shown.endswith(f"({REPOSITORY}/compare/{'a' * 12}...{'7' * 12})")


def test_without_an_address_commits_are_text(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(REPOSITORY_URL, "javascript:alert(1)")
    assert code_links.commit_link(BAD) == "b" * 12
    assert code_links.range_link(None, BAD) == literal(f"unknown..{'b' * 12}")
    assert code_links.table_links([(GOOD, BAD)]) == ([f"{'a' * 12}..{'b' * 12}"], {})


def test_a_column_of_a_table_shows_the_end_of_each_address(linked: None) -> None:
    cells, columns = code_links.table_links([(GOOD, BAD), (BAD, BAD), (None, BAD), (GOOD, None)])
    ends = (f"compare/{'a' * 12}...{'b' * 12}", f"commit/{'b' * 12}", f"commit/{'b' * 12}")
    assert cells == [*(f"{REPOSITORY}/{end}" for end in ends), None]
    assert columns["commits"]["type_config"]["display_text"] == "([0-9a-f.]+)$"


def test_a_comparison_links_both_commits_and_their_range(
    linked: None, simulated_url: str, opened: Callable[..., AppTest]
) -> None:
    page = opened("compare", simulated_url, before="5", after="7")
    before, after = (queries.run(Store.open(simulated_url), run).revision for run in (5, 7))
    assert before and after
    (shown,) = [one.value for one in page.caption if one.value.startswith("Commits ")]
    assert f"({REPOSITORY}/commit/{before.commit[:12]})" in shown
    assert f"({REPOSITORY}/commit/{after.commit[:12]})" in shown
    assert f"({REPOSITORY}/compare/{before.commit[:12]}...{after.commit[:12]})" in shown
