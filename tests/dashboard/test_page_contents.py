"""The texts and tables of pages for planted truths, without a browser."""

import re
from collections.abc import Callable

import pandas as pd
import pytest
from sqlalchemy import update
from streamlit.testing.v1 import AppTest

from kswatch.dashboard.components.median_trend import trend_title
from kswatch.dashboard.formatting.labels import literal
from kswatch.db.schema.tables import Device
from kswatch.db.store import Store
from kswatch.kernels.heuristics.model_file import learned_sections
from tests.dashboard.simulated_store import Plan, fill

Opened = Callable[..., AppTest]


def titles(page: AppTest) -> str:
    return "\n".join(element.value for element in page.subheader).replace("\\", "")


def notes(page: AppTest) -> str:
    return "\n".join(element.value for element in page.caption).replace("\\", "")


def table(page: AppTest, *columns: str):
    """The first table that has these columns."""
    return next(one.value for one in page.dataframe if set(columns) <= set(one.value.columns))


def test_two_runs_are_compared_by_their_significant_changes(seen: Opened) -> None:
    page = seen("compare", before="5", after="7", only_implementation="fused")
    assert "slower, 0 faster, of 32 cells" in titles(page)
    cells = table(page, "outcome", "95 % interval")
    assert set(cells["implementation"]) == {"fused"}
    assert set(cells["outcome"]) == {"worse"}
    assert "Changes in environment and revision (1)" in titles(page)


@pytest.mark.parametrize(
    ("mode", "text"),
    [("revisions", "Simulated"), ("devices", "Two devices: energy readings of different boards")],
)
def test_revisions_and_devices_are_compared_as_well(mode: str, text: str, seen: Opened) -> None:
    page = seen("compare", by=mode)
    assert "of 176 cells" in titles(page)  # 120 cold ones and 48 hot ones
    assert text in notes(page) + "\n".join(one.value for one in page.warning)


def test_a_minimum_change_above_all_changes_leaves_none_significant(seen: Opened) -> None:
    page = seen("compare", before="5", after="7", floor="25")
    assert "No significant difference in 176 cells" in titles(page)
    assert "No significant changes." in notes(page)


def test_a_single_run_cannot_be_compared_and_the_page_shows_what_to_run(own_url: str, opened: Opened) -> None:
    fill(Store.open(own_url), Plan(nights=1, patterns=1, devices=("sim-a100",)))
    page = opened("compare", own_url)
    assert "A comparison needs two runs" in titles(page)
    assert "kswatch nightly" in notes(page)


def test_a_rule_that_applies_to_no_problem_is_reported(own_url: str, opened: Opened) -> None:
    fill(Store.open(own_url), Plan(nights=1, patterns=1, devices=("sim-a100",)))  # 6,64,64,1: d = 1
    assert "it predicts a baseline for all" in notes(opened("heuristics", own_url, sweep="gated_h"))


def test_a_pattern_has_its_figures_on_top_and_its_verdicts_below(seen: Opened) -> None:
    page = seen("pattern", pattern="1,192,48,2", device="sim-h200-0000")
    assert re.search(
        r"fused [\d.]+ ms against [\d.]+ ms of \w+: \d\.\d\d×, (saves|costs) [\d.]+ ms", titles(page)
    )
    assert "95 %:" in notes(page) and "the energy of" in notes(page)
    assert "1 change flagged" in titles(page)
    cells = table(page, "implementation", "mode", "tile")
    assert set(cells["mode"]) == {"cold", "hot"}
    # a cell is throttled exactly where its planted power is above the cap of 455 W
    assert ("throttle reason" in cells) == (cells["power (W)"].max() > 455)


def test_a_chosen_night_is_the_one_in_detail(seen: Opened) -> None:
    page = seen("pattern", device="sim-h200-0000", night="3", samples="time")
    assert page.selectbox(key="choice_night").value == "3"
    assert page.segmented_control(key="choice_samples").value == "time"


def test_energy_is_shown_by_work_and_delay_and_by_both_sources(seen: Opened) -> None:
    page = seen("energy")
    sources = table(page, "source", "differ by over 5 %")
    assert sources["update interval (ms)"].tolist() == [20.0]
    assert "Counter and power samples agree" in titles(page)
    assert "a ranking of boards is not" in notes(page)


def test_a_device_shows_its_throttling_and_how_its_environments_differ(seen: Opened) -> None:
    page = seen("devices", device="sim-h200-0000")
    assert "Throttled on" in titles(page)
    difference = table(page, "property", "run 3", "run 7")
    assert ["driver", "580.65", "590.10"] in difference.to_numpy().tolist()


def test_a_speedup_by_device_shows_every_device(seen: Opened) -> None:
    page = seen("speedup", split="device")
    assert page.selectbox(key="choice_split").value == "device"


def test_other_thresholds_are_compared_with_the_rules_own(seen: Opened) -> None:
    page = seen("heuristics", sweep="dh_threshold", figure="regret")
    assert "dh_threshold with its threshold 5/128:" in titles(page)
    assert "mean regret from" in titles(page)


def test_medians_of_different_problems_are_not_compared() -> None:
    nights = pd.DataFrame({"median_speedup": [1.2, 0.8], "problems": [10, 3], "run_id": [4, 5]})
    assert trend_title(nights, "speedup").endswith("of different problems: 10 at first, 3 now")
    same = nights.assign(problems=10)
    assert trend_title(same, "speedup") == "Median speedup over 2 nights: 1.20× to 0.80×"


def test_scores_of_a_rule_on_the_data_of_its_fit_carry_a_notice(
    own_url: str, opened: Opened, seen: Opened
) -> None:
    store = Store.open(own_url)
    fill(store, Plan(nights=1, patterns=1, precisions=("fp32",), devices=("sim-a100",)))
    fitted = next(one for one in learned_sections() if (one.metric, one.precision) == ("latency", "fp32"))
    with store.writing() as session:
        session.execute(update(Device).values(model=fitted.device["model"]))
    assert "scores here are optimistic" in notes(opened("heuristics", own_url, layout=fitted.layout))
    assert "scores here are optimistic" not in notes(seen("heuristics"))


@pytest.mark.parametrize(
    ("path", "name", "unknown"),
    [
        ("alerts", "alert", "999"),
        ("runs", "run", "9999"),
        ("speedup", "device", "nope"),
        ("compare", "before", "9999"),
        ("compare", "by", "planets"),
        ("pattern", "layout", "<b>sideways</b>"),
    ],
)
def test_a_link_to_what_is_not_there_says_so_and_what_is_shown_instead(seen, path, name, unknown) -> None:
    page = seen(path, **{name: unknown})
    (warning,) = page.warning
    assert literal(unknown) in warning.value
    assert warning.value.startswith("There is no ")
    assert page.query_params[name] != [unknown]
    assert not seen(path).warning


def test_a_pattern_that_is_not_measured_is_not_replaced_by_another(seen: Opened) -> None:
    page = seen("pattern", pattern="5,16,16,3")
    assert page.selectbox(key="choice_pattern").value == "5,16,16,3"
    assert re.match(r"\(5,16,16,3\) is not measured: \d of \d rules predict fused", titles(page))
    assert len(page.subheader) == 1
    assert set(table(page, "rule", "predicts")["predicts"]) == {"fused", "a baseline"}
    assert "`kswatch serve` cannot measure on it" in notes(page), "of a simulated device"


def test_the_form_of_a_request_has_the_precision_and_layout_of_the_link(seen: Opened) -> None:
    page = seen("ask", pattern="6,64,64,1", batch="1024", precision="bf16", layout="batch_last")
    assert page.multiselect(key="ask_precisions").value == ["bf16"]
    assert page.multiselect(key="ask_layouts").value == ["batch_last"]


def test_a_request_preselects_no_device_that_was_only_simulated_or_imported(seen: Opened) -> None:
    assert seen("ask").selectbox(key="ask_device").value == "cpu"
