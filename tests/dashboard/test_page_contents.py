"""What the pages say of planted truths, without a browser."""

from collections.abc import Callable
from datetime import timedelta

import pandas as pd
import pytest
from sqlalchemy import update
from streamlit.testing.v1 import AppTest

from kswatch.dashboard.views.overview.device_card import since_the_run_before
from kswatch.dashboard.views.speedup import trend_title
from kswatch.db.queries.verdict_changes import TOO_LITTLE_HISTORY
from kswatch.db.schema.tables import Device, Verdict
from kswatch.db.store import Store
from kswatch.kernels.heuristics.model_file import learned_sections
from tests.dashboard.simulated_store import FIRST_NIGHT, Plan, fill

Opened = Callable[..., AppTest]


def titles(page: AppTest) -> str:
    return "\n".join(element.value for element in page.subheader).replace("\\", "")


def notes(page: AppTest) -> str:
    return "\n".join(element.value for element in page.caption).replace("\\", "")


def table(page: AppTest, *columns: str):
    """The first table that has these columns."""
    return next(one.value for one in page.dataframe if set(columns) <= set(one.value.columns))


def test_the_overview_tells_changes_in_groups_before_it_lists_them(seen: Opened) -> None:
    page = seen("overview")
    groups = table(page, "worst", "series")
    assert set(groups["verdict"]) == {"▼ slower"}
    assert set(groups["worst"]) == {"+12.0 %"}
    assert groups["series"].sum() == 32
    assert "Last night: 32 slower, 0 faster" in titles(page)


def test_the_overview_holds_every_rule_against_the_majority(seen: Opened) -> None:
    rules = table(seen("overview"), "heuristic", "accuracy (%)")
    assert {"majority rate (%)", "balanced (%)", "regret (%)", "nights"} <= set(rules)
    assert rules["nights"].map(len).eq(4).all()


def test_nothing_is_silent_while_everything_speaks(seen: Opened) -> None:
    assert "Nothing is silent" in notes(seen("overview"))


def test_cells_that_fall_silent_are_told(own_url: str, opened: Opened) -> None:
    store = Store.open(own_url)
    fill(store, Plan(nights=1, patterns=2, devices=("sim-a100",)))
    fill(
        store, Plan(nights=1, patterns=1, devices=("sim-a100",), first_night=FIRST_NIGHT + timedelta(days=1))
    )
    silent = table(opened("overview", own_url), "what", "instead")
    assert set(silent["instead"]) == {"not measured"}
    assert "fused on Simulated A100" in set(silent["which"])


def test_two_runs_are_compared_by_what_stands_out(seen: Opened) -> None:
    page = seen("compare", before="5", after="7", only_implementation="fused")
    assert "slower, 0 faster, of 32 cells" in titles(page)
    cells = table(page, "outcome", "95 % interval")
    assert set(cells["implementation"]) == {"fused"}
    assert set(cells["outcome"]) == {"worse"}
    assert "1 thing differs besides the numbers" in titles(page)


@pytest.mark.parametrize(
    ("way", "said"), [("revisions", "Simulated"), ("devices", "Two devices: energy read by different boards")]
)
def test_revisions_and_devices_are_compared_as_well(way: str, said: str, seen: Opened) -> None:
    page = seen("compare", by=way)
    assert "of 168 cells" in titles(page)  # 120 cold ones and 48 hot ones
    assert said in notes(page) + "\n".join(one.value for one in page.warning)


def test_a_floor_that_no_step_reaches_leaves_none_clear(seen: Opened) -> None:
    page = seen("compare", before="5", after="7", floor="25")
    assert "None of" in titles(page)
    assert "No step is clear." in notes(page)


def test_one_run_cannot_be_compared_and_says_what_to_do(own_url: str, opened: Opened) -> None:
    fill(Store.open(own_url), Plan(nights=1, patterns=1, devices=("sim-a100",)))
    page = opened("compare", own_url)
    assert "Two runs are needed" in titles(page)
    assert "kswatch nightly" in notes(page)


def test_a_rule_that_has_nothing_to_compare_is_told(own_url: str, opened: Opened) -> None:
    fill(Store.open(own_url), Plan(nights=1, patterns=1, devices=("sim-a100",)))  # 6,64,64,1: d = 1
    assert "it says a baseline for all" in notes(opened("heuristics", own_url, sweep="gated_h"))


def test_a_pattern_has_its_figures_on_top_and_its_verdicts_below(seen: Opened) -> None:
    page = seen("pattern", pattern="1,192,48,2", device="sim-h200-0000")
    labels = [one.label for one in page.metric]
    assert labels[0].startswith("Speedup over")
    assert labels[1].startswith("Energy ratio over")
    assert "95 %:" in page.metric[0].delta
    assert "1 step of its series stood out" in titles(page)
    cells = table(page, "implementation", "mode", "tile")
    assert set(cells["mode"]) == {"cold", "hot"}
    assert "held back by" in cells or cells["power (W)"].max() < 455


def test_a_chosen_night_is_the_one_in_depth(seen: Opened) -> None:
    page = seen("pattern", device="sim-h200-0000", night="3", samples="time")
    assert page.selectbox(key="choice_night").value == "3"
    assert page.segmented_control(key="choice_samples").value == "time"


def test_energy_is_told_by_work_and_delay_and_by_both_sources(seen: Opened) -> None:
    page = seen("energy")
    sources = table(page, "source", "over 5 % apart")
    assert sources["counter changes every (ms)"].tolist() == [20.0]
    assert "Counter and power samples agree" in titles(page)
    assert any("a ranking of boards" in one.value for one in page.warning)


def test_a_device_tells_what_held_it_back_and_how_its_environments_differ(seen: Opened) -> None:
    page = seen("devices", device="sim-h200-0000")
    assert "Clocks were held back" in titles(page)
    difference = table(page, "what", "run 3", "run 7")
    assert ["driver", "580.65", "590.10"] in difference.to_numpy().tolist()


def test_a_speedup_by_device_shows_every_device(seen: Opened) -> None:
    page = seen("speedup", split="device")
    assert page.selectbox(key="choice_split").value == "device"


def test_another_limit_is_held_against_the_rules_own(seen: Opened) -> None:
    page = seen("heuristics", sweep="dh_threshold", figure="regret")
    assert "With its limit 5/128 dh_threshold is right on" in titles(page)
    assert "mean regret went from" in titles(page)


def test_too_little_history_is_not_told_as_a_quiet_night(own_url: str, opened: Opened) -> None:
    store = Store.open(own_url)
    fill(store, Plan(nights=1, patterns=1, devices=("sim-a100",)))
    with store.writing() as session:
        session.execute(update(Verdict).values(reason=f"{TOO_LITTLE_HISTORY}: 0 comparable runs"))
    page = opened("overview", own_url)
    assert "Too few nights yet to say what changed in 32 series" in titles(page)
    assert "32 series have too few nights behind them to be judged yet." in notes(page)
    assert "within its noise" not in notes(page)


def test_medians_of_other_problems_are_not_set_side_by_side() -> None:
    nights = pd.DataFrame({"median_speedup": [1.2, 0.8], "problems": [10, 3], "run_id": [4, 5]})
    assert trend_title(nights, "speedup").endswith("but of other problems: 10 at first, 3 now")
    assert since_the_run_before(nights) == (None, "of 3 problems, in run 4 of 10")
    same = nights.assign(problems=10)
    assert trend_title(same, "speedup") == "Over 2 nights the median speedup went from 1.20× to 0.80×"
    assert since_the_run_before(same)[1] == "-33.3 % since run 4"


def test_a_rule_fitted_to_what_it_is_scored_on_says_so(own_url: str, opened: Opened, seen: Opened) -> None:
    store = Store.open(own_url)
    fill(store, Plan(nights=1, patterns=1, precisions=("fp32",), devices=("sim-a100",)))
    fitted = next(one for one in learned_sections() if (one.metric, one.precision) == ("latency", "fp32"))
    with store.writing() as session:
        session.execute(update(Device).values(model=fitted.device["model"]))
    assert "flatter themselves" in notes(opened("heuristics", own_url, layout=fitted.layout))
    assert "flatter themselves" not in notes(seen("heuristics"))
