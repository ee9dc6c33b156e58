from collections.abc import Callable

import pytest
from streamlit.testing.v1 import AppTest

from kswatch.dashboard.views.requests.form import (
    AD_HOC,
    SUITES,
    RunRequest,
    cost_text,
    read_batches,
    read_patterns,
)
from kswatch.db.artifacts.stored import NCU_REPORT
from kswatch.db.config import RequestLimits
from kswatch.db.request_queue.estimates import RequestEstimate
from kswatch.db.store import Store
from kswatch.errors import UsageError
from kswatch.kernels.pattern import Pattern
from kswatch.profiler.planning.plan import Filters, plan_suite
from kswatch.profiler.planning.suites import SUITES as PROFILERS_SUITES
from tests.dashboard.simulated_store import Plan, fill


@pytest.mark.parametrize(
    "typed",
    [
        "6,64,64,1\n1,768,192,2",
        "6,64,64,1; 1,768,192,2;",
        "(6,64,64,1), (1,768,192,2)",
        " [6, 64, 64, 1]\n\n1,768,192,2",
        "6\t64\t64\t1\n1 768 192 2",
    ],
)
def test_patterns_may_be_typed_or_pasted(typed: str) -> None:
    assert read_patterns(typed) == (Pattern(6, 64, 64, 1), Pattern(1, 768, 192, 2))


@pytest.mark.parametrize("typed", ["6,64,64", "6,64,64,0", "six,64,64,1", "<script>"])
def test_a_malformed_pattern_is_refused_in_a_sentence(typed: str) -> None:
    with pytest.raises(UsageError, match="pattern"):
        read_patterns(typed)


@pytest.mark.parametrize("typed", ["0", "-1", "1.5", "many", "٣"])
def test_an_invalid_batch_is_refused_in_a_sentence(typed: str) -> None:
    with pytest.raises(UsageError, match="batch"):
        read_batches(typed)


def test_batches_are_read_once_each() -> None:
    assert read_batches("1, 8 8;64") == (1, 8, 64)


def test_a_run_over_no_pattern_is_refused() -> None:
    with pytest.raises(UsageError, match="at least one pattern"):
        RunRequest("cpu", AD_HOC).validate(RequestLimits())


def test_a_run_over_far_too_many_cells_is_refused() -> None:
    patterns = tuple(Pattern(1, b, 1, 1) for b in range(1, 2000))
    with pytest.raises(UsageError, match="cells"):
        RunRequest("cpu", AD_HOC, patterns).validate(RequestLimits())


def test_the_profiler_knows_every_suite_that_is_offered() -> None:
    assert set(SUITES) == {suite.name for suite in PROFILERS_SUITES} | {AD_HOC}


@pytest.mark.parametrize(
    "request_",
    [
        RunRequest("cpu", AD_HOC, (Pattern(6, 64, 64, 1),)),
        RunRequest(
            "cpu",
            AD_HOC,
            (Pattern(6, 64, 64, 1),),
            (1, 8),
            ("fp32", "bf16"),
            ("batch_last",),
            ("fused", "bmm"),
        ),
    ],
)
def test_the_profiler_plans_the_announced_number_of_cells(request_: RunRequest) -> None:
    assert plan_suite(request_.suite, Filters.from_arguments(request_.arguments())).cells == request_.cells


@pytest.mark.parametrize(
    ("request_", "reason"),
    [
        (RunRequest("cpu", AD_HOC, (Pattern(1, 48, 48, 1),), precisions=("tf32",)), "no tf32"),
        (RunRequest("cpu", AD_HOC, (Pattern(1024, 64, 64, 1),), batches=(32_768,)), "a batch under 32,768"),
        (
            RunRequest("cpu", AD_HOC, (Pattern(1, 2, 3, 1), Pattern(1, 3, 4, 1)), is_chain=True),
            "do not chain",
        ),
        (RunRequest("", "smoke"), "name the device"),
        (RunRequest("cpu", "smoke", ncu_report=True), "NVIDIA GPUs only"),
    ],
)
def test_an_invalid_request_is_refused_in_a_sentence(request_: RunRequest, reason: str) -> None:
    with pytest.raises(UsageError, match=reason):
        request_.validate(RequestLimits())


def test_factors_of_a_layer_are_a_chain() -> None:
    factors = (Pattern(1, 192, 48, 2), Pattern(2, 48, 192, 1))
    chain = RunRequest("cpu", AD_HOC, factors, is_chain=True)
    chain.validate(RequestLimits())
    assert chain.arguments() == {"pattern": ["1,192,48,2", "2,48,192,1"]}


def test_reports_of_ncu_are_in_the_stored_request() -> None:
    asked = RunRequest("cuda:0", "smoke", ncu_report=True)
    asked.validate(RequestLimits())
    assert asked.arguments() == {NCU_REPORT: True}


@pytest.mark.parametrize(
    ("estimate", "budget", "text"),
    [
        (RequestEstimate(16, 120.0), 60, "16 cells, about 2 min. Stops after 60 min."),
        (RequestEstimate(16, 5400.0), 60, "cells that do not fit are recorded as skipped"),
        (RequestEstimate(16, None), None, "16 cells; no estimate yet: nothing has run on this device."),
        (RequestEstimate(None, None), 60, "No estimate yet: this suite has not run on such a device. Stops"),
        (RequestEstimate(16, 70.0, 12), None, "about 1.2 min; 12 will probably be too slow to time, or too"),
    ],
)
def test_the_cost_is_one_sentence(estimate: RequestEstimate, budget: int | None, text: str) -> None:
    assert text in cost_text(estimate, budget)


def test_a_narrowed_suite_has_the_cells_of_its_last_run_that_match(
    own_url: str, opened: Callable[..., AppTest]
) -> None:
    store = Store.open(own_url)
    fill(store, Plan(nights=1, patterns=2, devices=("sim-a100",), samples=2, is_measured=True))
    page = opened("ask", own_url, precision="fp32", device="sim-a100-0000")
    page.selectbox(key="ask_suite").select("nightly").run()
    assert _cost(page) == "32 cells"
    page.text_area(key="ask_patterns").input("6,64,64,1").run()
    assert _cost(page) == "16 cells"
    page.text_area(key="ask_patterns").input("5,16,16,3").run()
    assert _cost(page) == "16 cells", "a pattern that the suite lacks has the facets of the others"


def _cost(page: AppTest) -> str:
    texts = [one.value.replace("\\", "") for one in page.caption]
    return next(text.partition(",")[0] for text in texts if " cells, " in text)
