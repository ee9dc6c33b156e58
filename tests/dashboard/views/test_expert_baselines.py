"""Pages against the expert set: which rivals were there, the speed of light, breaks of trends (simulated)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from streamlit.testing.v1 import AppTest

from kswatch.ci.check import judge
from kswatch.ci.config import CiConfig
from kswatch.dashboard.components.median_trend import with_gaps
from kswatch.dashboard.data.baseline_history import baseline_changes, runs_since_change, set_or_all
from kswatch.dashboard.night import device_markup
from kswatch.dashboard.night.summary import read_night
from kswatch.dashboard.static_export.page import write_overview
from kswatch.db.queries import basic as queries
from kswatch.db.queries.baseline_sets import RunSets, run_sets
from kswatch.db.store import Store
from kswatch.services import JudgementLimits
from tests.dashboard.browser_rig import html_of
from tests.dashboard.simulated_store import FIRST_NIGHT, NASTY, SLOWDOWN, Plan, fill

RIVALS = ("compiled", "triton")
PLAN = Plan(
    devices=("sim-h200",),
    nights=6,
    patterns=4,
    precisions=("fp32",),
    samples=4,
    rivals=RIVALS,
    new_library_night=3,
)
THERE = "rivals there: compiled (compiled-library 2.0), triton (triton-library 2.0)"


@pytest.fixture(scope="module")
def expert_url(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Six nights with two of the four rivals, whose libraries changed on the fourth; the last is judged."""
    url = f"sqlite:///{tmp_path_factory.mktemp('expert') / 'kswatch.db'}"
    store = Store.open(url)
    run_ids = fill(store, PLAN)
    judge(store, run_ids[-1], CiConfig(), now=FIRST_NIGHT)
    store.close()
    return url


def captions(page: AppTest) -> str:
    return "\n".join(str(one.value) for one in page.caption).replace("\\", "")


def test_the_overview_is_against_the_expert_set_and_names_the_rivals(
    expert_url: str, opened: Callable[..., AppTest]
) -> None:
    page = opened("overview", expert_url)
    assert f"against the expert baselines; {THERE}" in captions(page)
    assert "not there: cutensor (not installed), lazylinop (not installed)" in captions(page)
    assert " %, worst " in html_of(page)


def test_the_nights_of_a_row_begin_where_the_baselines_changed(expert_url: str) -> None:
    night = read_night(Store.open(expert_url))
    assert night is not None
    (device,) = night.devices
    assert [len(row.nights) for row in device.medians] == [3, 3], "with the new libraries"
    assert [row.change for row in device.medians] == [None, None], "a level needs three nights"


def test_a_run_without_rivals_is_shown_against_stock_torch(
    own_url: str, opened: Callable[..., AppTest]
) -> None:
    store = Store.open(own_url)
    fill(store, Plan(devices=("sim-h200",), nights=1, patterns=2, precisions=("fp32",), samples=2))
    store.close()
    page = opened("overview", own_url)
    assert "against all baselines of stock torch; without rivals." in captions(page)


def test_the_speedup_page_has_a_trend_of_the_speed_of_light(
    expert_url: str, opened: Callable[..., AppTest]
) -> None:
    page = opened("speedup", expert_url)
    titles = "\n".join(str(one.value) for one in page.subheader).replace("\\", "")
    assert "Fused reaches" in titles and "of the speed of light in the median" in titles
    assert THERE.replace("rivals", "Rivals") in captions(page)
    assert "Median speedup over 3 nights" in titles, "since the libraries changed"


def test_no_line_leads_across_a_change_of_the_baselines() -> None:
    nights = pd.DataFrame(
        {"run_id": [1, 2, 3], "started_at": pd.date_range("2026-01-05", periods=3), "median_speedup": 1.0}
    )
    drawn = with_gaps(nights, [3])
    assert drawn["median_speedup"].isna().tolist() == [False, False, True, False]
    assert drawn["run_id"].is_unique and drawn["started_at"].is_monotonic_increasing
    assert with_gaps(nights, []) is nights


def test_a_value_above_1_is_explained_on_both_pages(own_url: str, opened: Callable[..., AppTest]) -> None:
    store = Store.open(own_url)
    plan = Plan(devices=("sim-h200",), nights=1, patterns=2, precisions=("fp32",), samples=2)
    with pytest.MonkeyPatch.context() as patched:
        patched.setitem(SLOWDOWN, "fused", 0.5)
        fill(store, plan)
    store.close()
    assert "Above the speed of light: 2 of 2 problems are faster than the floor" in captions(
        opened("speedup", own_url, layout="batch_first")
    )
    (device,) = read_night(Store.open(own_url)).devices
    explained = "Above the speed of light in fp32, batch first: 2 of 2 problems are faster than the floor"
    assert explained in device_markup.matrix([device], JudgementLimits(), FIRST_NIGHT)


def test_the_static_overview_is_against_the_expert_set(expert_url: str, tmp_path: Path) -> None:
    store = Store.open(expert_url)
    write_overview(store, tmp_path / "page.html", JudgementLimits())
    store.close()
    text = (tmp_path / "page.html").read_text()
    assert THERE in text and "speed of light" in text and NASTY not in text


def test_a_set_changes_where_members_or_libraries_do(expert_url: str) -> None:
    store = Store.open(expert_url)
    run_ids = [run.id for run in queries.runs(store, origins=None)][::-1]
    sets = run_sets(store, run_ids)
    store.close()
    (change,) = baseline_changes(sets, run_ids, "expert")
    assert change[0] == run_ids[3] and change[1].cause == "library"
    assert runs_since_change(sets, run_ids, "expert") == tuple(run_ids[3:])
    assert runs_since_change(sets, run_ids, "all") == tuple(run_ids)
    assert set_or_all(sets, run_ids[0], "expert") == "expert"
    assert set_or_all({run_ids[0]: RunSets()}, run_ids[0], "expert") == "all"
