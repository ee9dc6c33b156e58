"""The pattern page: answer, state, matrix, marks, and the answer for a pattern that was not measured."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from math import nan
from typing import Literal

import pandas as pd
import pytest
from playwright.sync_api import Browser, expect
from streamlit.testing.v1 import AppTest

from kswatch.dashboard.formatting.labels import savings
from kswatch.dashboard.views.pattern.answer import answer_of
from kswatch.db.queries import basic as queries
from kswatch.db.request_queue import requests
from kswatch.db.schema.tables import Verdict
from kswatch.db.store import Store
from tests.dashboard.browser_rig import patient_page, wait_until_drawn
from tests.dashboard.simulated_store import Plan, fill

CELLS = pd.DataFrame(
    {
        "run_id": 1,
        "implementation": ["fused", "bmm", "bmm"],
        "mode": ["cold", "cold", "hot"],
        "latency_ms": [0.049, 0.085, 0.01],
        "energy_mj": [20.0, 33.0, nan],
    }
)
COMPARED = pd.DataFrame(
    {"run_id": [1], "best_baseline": "bmm", "speedup": 1.73, "speedup_low": 1.7, "speedup_high": 1.76}
)


def texts(page: AppTest) -> str:
    shown = [*page.subheader, *page.markdown, *page.caption, *page.error]
    return "\n".join(str(one.value) for one in shown).replace("\\", "")


def test_the_answer_is_fused_against_the_best_baseline_in_time_and_energy() -> None:
    found = answer_of(CELLS, COMPARED)
    assert found is not None
    assert found.sentence == "fused 0.049 ms against 0.085 ms of bmm: 1.73×, saves 0.036 ms and 13 mJ"
    assert answer_of(CELLS[CELLS["implementation"] == "bmm"], COMPARED) is None


@pytest.mark.parametrize(
    ("saved", "text"),
    [
        ((0.036, 13.0), "saves 0.036 ms and 13 mJ"),
        ((0.036, nan), "saves 0.036 ms"),
        ((0.036, -2.0), "saves 0.036 ms but costs 2 mJ more"),
        ((-0.036, -2.0), "costs 0.036 ms and 2 mJ more"),
        ((-0.036, 2.0), "costs 0.036 ms more but saves 2 mJ"),
        ((-0.036, nan), "costs 0.036 ms more"),
    ],
)
def test_savings_and_costs_are_words(saved: tuple[float, float], text: str) -> None:
    assert savings(*saved) == text


def test_the_state_names_the_change_its_first_run_its_commits_and_its_alert(
    own_url: str, opened: Callable[..., AppTest]
) -> None:
    store = Store.open(own_url)
    run_ids = fill(store, Plan(nights=4, patterns=1, devices=("sim-h200",), samples=2, regression_night=2))
    with store.writing() as session:  # the change is still there on the newest night
        slower = session.query(Verdict).filter_by(run_id=run_ids[2], verdict="slower").all()
        for one in slower:
            session.query(Verdict).filter_by(
                run_id=run_ids[3], cell_id=one.cell_id, metric=one.metric
            ).update({"verdict": "slower", "change": 0.12, "cause": "code", "alert_id": 1})
    page = opened("pattern", own_url, pattern="6,64,64,1")
    good, bad = (queries.run(store, run_ids[night]).revision for night in (1, 2))
    assert good and bad
    assert (
        f":red-badge[worse] fused latency +12.0 % against its level since 7 Jan (run {run_ids[2]}), "
        f"{good.commit[:12]}..{bad.commit[:12]}; likely cause: code change."
    ) in texts(page)
    links = [element.proto.label for element in page.get("page_link")]
    assert any(label.startswith("Alert 1") for label in links)
    charts = [element.proto.spec for element in page.get("plotly_chart")]
    assert sum("alert 1, open" in spec for spec in charts) >= 2, "marked on the ratio and on implementations"


def test_the_matrix_has_every_precision_and_layout_and_none_for_a_single_problem(
    seen: Callable[..., AppTest], own_url: str, opened: Callable[..., AppTest]
) -> None:
    page = seen("pattern", pattern="1,192,48,2", device="sim-h200-0000")
    found = next(
        one.value for one in page.dataframe if "precision" in one.value and len(one.value.columns) == 3
    )
    assert list(found["precision"]) == ["fp32", "bf16"]
    assert list(found.columns[1:]) == ["batch first, ×1,024", "batch last, ×1,024"]
    assert found.notna().all().all()
    plan = Plan(
        nights=1, patterns=1, devices=("sim-a100",), precisions=("fp32",), layouts=("batch_first",), samples=2
    )
    fill(Store.open(own_url), plan)
    assert "in every precision" not in texts(opened("pattern", own_url))


def test_the_answer_for_an_unmeasured_pattern_appears_where_it_was_requested(
    own_url: str, opened: Callable[..., AppTest]
) -> None:
    store = Store.open(own_url)
    one_night = Plan(nights=1, patterns=1, devices=("sim-a100",), samples=2, is_measured=True)
    fill(store, one_night)
    asked = {"pattern": "1,192,48,2", "device": "sim-a100-0000", "batch": "1024"}
    page = opened("pattern", own_url, **asked)
    assert "(1,192,48,2) is not measured" in texts(page)
    page.button(key="pattern_measure").click().run()
    (queued,) = queries.requests(store)
    assert (queued.device, queued.arguments["pattern"]) == ("sim-a100-0000", ["1,192,48,2"])
    assert queued.arguments["precision"] == ["fp32"] and queued.arguments["layout"] == ["batch_first"]
    assert f"Request {queued.id} is queued" in texts(page)
    requests.finish(store, queued.id, "done")
    (run_id,) = _ad_hoc_night(store, one_night)
    page = opened("pattern", own_url, **asked)
    assert "(1,192,48,2): fused" in texts(page) and f"in run {run_id} (ad hoc" in texts(page)
    assert page.button(key="pattern_measure").label == "Measure it again"


def _ad_hoc_night(store: Store, plan: Plan) -> list[int]:
    """A run of another kind with one more pattern than the nights have."""
    from sqlalchemy import update

    from kswatch.db.schema.tables import Run

    more = Plan(
        nights=1,
        patterns=2,
        devices=plan.devices,
        samples=2,
        is_measured=True,
        first_night=datetime(2026, 2, 1, tzinfo=UTC),
    )
    run_ids = fill(store, more)
    with store.writing() as session:
        session.execute(update(Run).where(Run.id.in_(run_ids)).values(kind="ad_hoc", suite="ad_hoc"))
    return run_ids


@pytest.mark.slow
@pytest.mark.browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_answer_and_the_state_are_on_the_first_screen(
    browser: Browser, address: str, scheme: Literal["light", "dark"]
) -> None:
    for width in (1400, 400):
        context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
        page = patient_page(context)
        page.goto(f"{address}/pattern?pattern=6,64,64,1&device=sim-h200-0000")
        wait_until_drawn(page)
        answer = page.get_by_role("heading", name="(6,64,64,1): fused")
        state = page.get_by_text("likely cause: code change.")
        expect(answer).to_be_visible()
        boxes = [answer.bounding_box(), state.bounding_box()]
        assert all(box and box["y"] + box["height"] < 900 for box in boxes), boxes
        context.close()
