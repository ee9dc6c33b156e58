"""The first figure of each page is the one that the page is about."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Literal

import pandas as pd
import pytest
from playwright.sync_api import Browser
from sqlalchemy import update
from streamlit.testing.v1 import AppTest

from kswatch.dashboard.views.compare import page as compare
from kswatch.db.schema.tables import Canary, Device, Run
from kswatch.db.store import Store
from kswatch.kernels.heuristics.model_file import learned_sections
from tests.dashboard.browser_rig import patient_page, wait_until_drawn
from tests.dashboard.simulated_store import SLOWDOWN, Plan, fill

Opened = Callable[..., AppTest]
PLAN = Plan(nights=2, patterns=2, devices=("sim-a100",), precisions=("fp32",), samples=2)


def titles(page: AppTest) -> list[str]:
    return [element.value.replace("\\", "") for element in page.subheader]


def notes(page: AppTest) -> str:
    return "\n".join(str(element.value) for element in page.caption).replace("\\", "")


def test_speedup_leads_with_its_trend_then_shows_each_problem(seen: Opened) -> None:
    page = seen("speedup")
    shown = titles(page)
    assert shown[0].startswith("Fused is faster on")
    assert shown[1].startswith("Median speedup over 4 nights")
    assert shown[2].startswith("Each problem:")
    assert "TFLOP/s" in "\n".join(shown)
    assert page.segmented_control(key="choice_heat").value == "change"


def test_energy_leads_with_fused_against_the_best_baseline(seen: Opened) -> None:
    page = seen("energy")
    assert titles(page)[0].startswith("Fused uses less energy on")
    assert not page.warning
    assert "a ranking of boards is not" in notes(page)


@pytest.mark.parametrize(
    ("rate", "text"), [(1.0, "the machine is the same"), (0.8, "the machine itself changed")]
)
def test_a_comparison_has_counts_their_geometric_mean_and_the_canaries_above(
    own_url: str, opened: Opened, rate: float, text: str
) -> None:
    store = Store.open(own_url)
    first, last = fill(store, PLAN)
    with store.writing() as session:
        session.execute(update(Canary).where(Canary.run_id == last).values(rate=Canary.rate * rate))
    page = opened("compare", own_url, before=str(first), after=str(last))
    assert "; geometric mean " in titles(page)[0]
    assert "Canaries: copy fp32" in notes(page) and text in notes(page)


def test_the_geometric_mean_of_a_half_and_a_double_is_no_change() -> None:
    frame = pd.DataFrame({"change": [1.0, -0.5], "outcome": ["worse", "better"]})
    assert compare._change_counts(frame, "latency_ms") == (
        "1 slower, 1 faster, of 2 cells; geometric mean +0.0 %"
    )


def test_heuristics_lead_with_a_rule_that_was_not_fitted_to_this_device(own_url: str, opened: Opened) -> None:
    store = Store.open(own_url)
    fill(store, PLAN)
    fitted = next(one for one in learned_sections() if (one.metric, one.precision) == ("latency", "fp32"))
    with store.writing() as session:
        session.execute(update(Device).values(model=fitted.device["model"]))
    page = opened("heuristics", own_url, layout=fitted.layout)
    rules = next(one.value for one in page.dataframe if "scored on" in one.value)
    in_sample = set(rules.loc[rules["scored on"] == "its own fit", "heuristic"].str.partition(" v")[0])
    assert in_sample == {"cost_model", "learned"}
    assert not any(name in titles(page)[0] for name in in_sample)
    assert rules["scored on"].tolist()[-2:] == ["its own fit"] * 2
    assert page.selectbox(key="choice_heuristic").value == rules["heuristic"].iloc[0]


def test_a_device_has_a_chart_for_each_canary_with_the_spread_within_the_run(seen: Opened) -> None:
    page = seen("devices", device="sim-h200-0000")
    specs = [element.proto.spec for element in page.get("plotly_chart")]
    for canary in ("copy fp32", "gemm fp32"):
        (own,) = [spec for spec in specs if f"{canary} (% of median)" in spec]
        assert "within the run" in own


@pytest.mark.parametrize("patterns", [1, 2])
def test_the_answer_of_an_ad_hoc_run_is_a_sentence(own_url: str, opened: Opened, patterns: int) -> None:
    store = Store.open(own_url)
    plan = replace(PLAN, nights=1, patterns=patterns, layouts=("batch_first",))
    (run_id,) = fill(store, plan)
    with store.writing() as session:
        session.execute(update(Run).values(kind="ad_hoc", suite="ad_hoc"))
    shown = titles(opened("runs", own_url, run=str(run_id), view="one"))
    one, several = (
        r"\(6,64,64,1\): fused [\d.]+ ms against",
        r"Fused is faster on \d of 2 problems: .*, median",
    )
    assert re.match(one if patterns == 1 else several, shown[1])


@pytest.mark.parametrize("path", ["runs", "pattern"])
def test_a_cell_faster_than_its_floor_is_flagged_with_the_reason(
    own_url: str, opened: Opened, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    monkeypatch.setitem(SLOWDOWN, "fused", 0.5)
    fill(Store.open(own_url), replace(PLAN, nights=1))
    page = opened(path, own_url)
    assert re.search(r"\d cells? faster than the floor, up to \d+ %", notes(page))


@pytest.mark.slow
@pytest.mark.browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_two_chosen_runs_are_compared(
    browser: Browser, address: str, scheme: Literal["light", "dark"]
) -> None:
    for width in (1400, 400):
        context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
        page = patient_page(context)
        page.goto(f"{address}/runs")
        wait_until_drawn(page)
        page.get_by_test_id("data-grid-canvas").first.focus()
        for key in ("Home", "ArrowDown"):
            page.keyboard.press(key)
            page.keyboard.press("Shift+Space")
            wait_until_drawn(page)
        page.get_by_role("link", name="Compare run 7 with run 8").click()
        page.wait_for_url("**/compare?*before=7&after=8*")
        wait_until_drawn(page)
        shown = page.locator("[data-testid=stMain]").inner_text()
        assert re.search(r"Run 7 · .*, compared with run 8 · ", shown)
        context.close()
