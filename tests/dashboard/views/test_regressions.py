"""The page of lasting changes and the levels of a pattern's charts, without a browser."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from streamlit.testing.v1 import AppTest

from kswatch.db.levels.stored import FoundLevels, StoredLevel, problem_levels, record_levels
from kswatch.db.queries.basic import runs
from kswatch.db.queries.regression_inputs import cell_names
from kswatch.db.records import ProblemKey
from kswatch.db.store import Store
from tests.dashboard.simulated_store import FIRST_NIGHT, Plan, fill

Opened = Callable[..., AppTest]


@pytest.fixture
def planted(own_url: str) -> Callable[..., Store]:
    """A store of five nights: fused is slower from the fourth on, bmm was so on the third night only."""

    def plant(first_night: datetime = FIRST_NIGHT) -> Store:
        store = Store.open(own_url)
        fill(store, Plan(nights=5, patterns=1, devices=("sim-a100",), first_night=first_night))
        nights = [run.id for run in reversed(runs(store))]
        device_id = runs(store)[0].device_id
        cells = {name: cell for cell, (_, name) in reversed(cell_names(store).items())}
        steps = {"fused": ((0, 1.0), (3, 1.05)), "bmm": ((0, 2.0), (2, 2.2), (3, 2.0))}
        found = []
        for name, levels in steps.items():
            rows = [
                StoredLevel(
                    cells[name],
                    "latency_ms",
                    nights[night],
                    nights[night - 1] if night else None,
                    median,
                    median * 0.99,
                    median * 1.01,
                    0.01,
                )
                for night, median in levels
            ]
            found.append(FoundLevels(cells[name], "latency_ms", 0, rows))
        record_levels(store, device_id, nights[-1], found)
        return store

    return plant


def test_changes_are_listed_with_commits_interval_and_present_state(
    opened: Opened, own_url: str, planted: Callable[..., Store]
) -> None:
    store = planted()
    commits = [run.revision.commit[:12] for run in reversed(runs(store)) if run.revision]
    page = opened("regressions", own_url, days="all")
    assert page.subheader[0].value == "2 lasting changes, 1 still there"
    rows = {row["implementation"]: row for table in page.dataframe for row in table.value.to_dict("records")}
    assert {name: row["state"] for name, row in rows.items()} == {"fused": "still there", "bmm": "recovered"}
    assert rows["fused"]["commits"] == f"{commits[2]}..{commits[3]}"
    assert rows["fused"]["largest change"] == "+5.0 %"
    assert rows["fused"]["95 % interval"] == "+2.9 to +7.1 %"
    assert rows["bmm"]["series"] == 1


def test_changes_that_began_earlier_are_left_out(
    opened: Opened, own_url: str, planted: Callable[..., Store]
) -> None:
    planted(datetime.now(UTC) - timedelta(days=60)).close()
    found = {days: opened("regressions", own_url, days=days).subheader[0].value for days in ("30", "90")}
    assert found == {"30": "0 lasting changes, 0 still there", "90": "2 lasting changes, 1 still there"}


def test_the_pattern_page_draws_levels_and_the_commits_of_their_changes(
    opened: Opened, own_url: str, planted: Callable[..., Store]
) -> None:
    store = planted()
    commits = [run.revision.commit[:12] for run in reversed(runs(store)) if run.revision]
    (problem,) = {name for name, _ in cell_names(store).values() if _is_planted(store, name)}
    about = {name: getattr(problem, name) for name in ("pattern", "batch", "precision", "layout")}
    page = opened("pattern", own_url, **about)
    assert not page.exception
    traces = [trace for one in page.get("plotly_chart") for trace in json.loads(one.proto.spec)["data"]]
    assert {"fused level", "bmm level"} <= {trace.get("name") for trace in traces}
    (changed,) = [trace for trace in traces if trace.get("name") == "change of level"]
    assert sorted(changed["ids"]) == ["3 bmm", "4 bmm", "4 fused"]
    shown = {tuple(row[:2]): (round(row[2], 4), row[5]) for row in changed["customdata"]}
    assert shown[4, "fused"] == (0.05, f"{commits[2]}..{commits[3]}")
    assert shown[4, "bmm"] == (-0.0909, f"{commits[2]}..{commits[3]}")


def _is_planted(store: Store, problem: ProblemKey) -> bool:
    return bool(problem_levels(store, runs(store)[0].device_id, problem, ("latency_ms",)))
