"""The page *Which one?* for planted cells without a browser, and a layer measured from it in one."""

import os
import re
import subprocess
import sys
from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect
from streamlit.testing.v1 import AppTest

from kswatch.db.queries import basic as queries
from kswatch.db.request_queue import requests
from kswatch.db.store import Store
from tests.dashboard.browser_rig import running_dashboard, wait_until_drawn
from tests.dashboard.views.test_layers import KS, LAYER
from tests.dashboard.views.test_request_to_result import MEASURED_WITHIN_MS, serving
from tests.db.sample_records import import_run, measured

Opened = Callable[..., AppTest]
ASKED = {"in": "1024", "out": "4096", "batch": "196"}


@pytest.fixture
def layer_url(own_url: str) -> str:
    import_run(
        Store.open(own_url),
        [
            measured(LAYER, "dense/linear", 4.0, energy_mj=8.0),
            measured(LAYER, f"{KS}/fused", 1.0, energy_mj=3.0),
        ],
    )
    return own_url


def title(page: AppTest) -> str:
    return page.subheader[0].value.replace("\\", "")


def test_measured_ways_are_ranked_with_what_they_save(layer_url: str, opened: Opened) -> None:
    page = opened("which", layer_url, **ASKED)
    assert (
        title(page) == f"1,024 → 4,096: {KS} by fused saves 3 ms and 5 mJ, 4.00× as fast as dense (measured)"
    )
    table = page.dataframe[0].value
    assert list(table["structure"][:2]) == [KS, "dense"]
    assert list(table["saved (mJ)"][:2]) == [5.0, 0.0]
    assert set(table["latency is"][2:]) <= {"predicted", "no data"}
    assert "butterfly" in str(page.dataframe[1].value)


def test_a_shape_that_nothing_like_was_measured_has_no_confident_answer(
    layer_url: str, opened: Opened
) -> None:
    page = opened("which", layer_url, **ASKED | {"in": "524288", "out": "8"})
    assert title(page) == "524,288 → 8: no data for this device"


@pytest.mark.parametrize(
    ("name", "text"), [("in", "0"), ("out", "many"), ("batch", "9" * 30), ("batch", "²")]
)
def test_a_number_of_the_url_that_is_none_is_refused(
    layer_url: str, opened: Opened, name: str, text: str
) -> None:
    page = opened("which", layer_url, **ASKED | {name: text})
    assert "is no integer from 1 to" in page.error[0].value.replace("\\", "")
    assert not page.dataframe


def test_measuring_a_layer_queues_one_request_and_shows_its_progress(layer_url: str, opened: Opened) -> None:
    page = opened("which", layer_url, **ASKED)
    page.text_input(key="which_who").input("a test").run()
    page.button(key="which_measure").click().run()
    store = Store.open(layer_url)
    (asked,) = queries.requests(store)
    assert asked.suite == "ad_hoc"
    assert asked.arguments == {
        "layer": ["1024,4096"],
        "batch": [196],
        "precision": ["fp32"],
        "layout": ["batch_first"],
    }
    assert "is queued" in "\n".join(one.value for one in page.caption)
    requests.take(store, asked.id)
    requests.record_progress(store, asked.id, 3, 16, 75.0)
    again = opened("which", layer_url, **ASKED)
    assert "which_measure" not in [button.key for button in again.button]


@pytest.mark.slow
@pytest.mark.browser
def test_the_answer_of_a_measured_layer_appears_on_the_same_page(desk: Page, own_url: str) -> None:
    environment = os.environ | {"KSWATCH_DATABASE_URL": own_url}
    first = ["profile", "--layer", "48,96", "--batch", "4", "--precision", "fp32", "--device", "cpu"]
    subprocess.run([sys.executable, "-m", "kswatch", *first], env=environment, check=True, timeout=300)
    with running_dashboard(own_url) as at, serving(own_url):
        desk.goto(f"{at}/which?in=48&out=192&batch=4")
        wait_until_drawn(desk)
        desk.get_by_role("button", name="Measure this layer").click()
        expect(desk.get_by_text(re.compile(r"[1-9]\d* measured"))).to_be_visible(timeout=MEASURED_WITHIN_MS)
    (asked,) = queries.requests(Store.open(own_url))
    assert asked.state == "done"
