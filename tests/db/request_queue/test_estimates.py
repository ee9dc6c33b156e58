"""Estimates of requests: on a device that computes at rates known beforehand, larger problems take longer."""

from __future__ import annotations

import pytest

from kswatch.db.queries import basic as queries
from kswatch.db.records import AD_HOC, CanaryRecord, ProblemKey
from kswatch.db.request_queue import requests
from kswatch.db.request_queue.estimates import estimate
from kswatch.db.request_queue.requested_cells import chosen_cells
from kswatch.profiler.devices.discovery import cpu_target
from kswatch.profiler.empty_records import problem_key
from kswatch.profiler.planning.dry_run import dry_run
from kswatch.profiler.planning.plan import Filters, plan_suite
from kswatch.profiler.settings import MeasureSettings
from kswatch.services import TimingLimits
from tests.db.sample_records import CPU, measured, run_record

FLOPS_PER_S, BYTES_PER_S = 1e11, 1e10
SLOWNESS = {"fused": 1.2, "bmm": 1.5}
OVERHEAD_S = 0.5
SMALL = ProblemKey(1, 256, 256, 1, 2048, "fp32", "batch_last")
LIMITS = TimingLimits(too_slow_ms=500.0, cell_cap_ms=2000.0)


def latency_ms(key: ProblemKey, name: str) -> float:
    return SLOWNESS[name] * 1e3 * max(key.flops / FLOPS_PER_S, key.compulsory_bytes / BYTES_PER_S)


@pytest.fixture
def known(store):
    """A store with a run of a device of known rates, half a second a cell."""
    record_known(store)
    return store


def record_known(store, **changes: object) -> None:
    run_id = store.begin_run(run_record(arguments={}, **changes))
    canaries = [("copy", BYTES_PER_S), ("gemm", FLOPS_PER_S)]
    store.record_canaries(run_id, [CanaryRecord("start", name, "fp32", 1.0, rate) for name, rate in canaries])
    cells = [measured(SMALL, name, latency_ms(SMALL, name), sample_count=30) for name in SLOWNESS]
    store.record_problem(run_id, cells)
    store.finish_run(run_id, "finished", seconds=OVERHEAD_S * len(SLOWNESS), harness_seconds=0.1)


def asked(pattern: str, batch: int = 2048, **also: object) -> dict[str, object]:
    facets = {"precision": ["fp32"], "layout": ["batch_last"], "implementation": list(SLOWNESS)}
    return {"pattern": [pattern], "batch": [batch], **facets, **also}


def seconds(store, *about, **also) -> float:
    found = estimate(store, AD_HOC, CPU.uuid, asked(*about, **also), LIMITS)
    assert (found.cells, found.refused) == (2, 0)
    return found.seconds


def test_the_cells_of_the_last_run_take_what_that_run_took(known):
    assert seconds(known, "1,256,256,1") == pytest.approx(OVERHEAD_S * len(SLOWNESS))


def test_a_hundred_times_larger_problem_takes_longer_by_its_launches_checks_and_reference(known):
    key = ProblemKey(1, 2560, 2560, 1, 2048, "fp32", "batch_last")
    product_s = key.flops / FLOPS_PER_S
    capped_s = sum(1e-3 * (LIMITS.cell_cap_ms + latency_ms(key, name)) for name in SLOWNESS)
    found = seconds(known, "1,2560,2560,1")
    assert capped_s + 2 * product_s < found < capped_s + 2 * OVERHEAD_S + 12 * product_s


def test_the_time_grows_with_the_problem_although_that_of_the_launches_is_bounded(known):
    sizes = [seconds(known, f"1,{side},{side},1") for side in (256, 1024, 2048, 2560)]
    assert sizes == sorted(sizes)
    assert sizes[3] - sizes[2] > 2 * (2560**2 - 2048**2) * 2 * 2048 / FLOPS_PER_S


def test_what_is_too_slow_or_too_large_is_counted_and_costs_no_rounds(known):
    slow = estimate(known, AD_HOC, CPU.uuid, asked("1,16384,16384,1"), LIMITS)
    assert (slow.cells, slow.refused) == (2, 2)
    dense = estimate(known, AD_HOC, CPU.uuid, asked("64,64,64,1", implementation=["fused", "dense"]), LIMITS)
    assert (dense.cells, dense.refused) == (2, 1), "dense computes 64 times as much"
    assert slow.seconds < 60


def test_the_queue_has_the_number_of_the_form(known):
    arguments = asked("1,2560,2560,1")
    submitted = requests.submit(known, AD_HOC, CPU.uuid, asked_by="me", arguments=arguments, timing=LIMITS)
    stored = queries.request(known, submitted).seconds_planned
    assert stored == pytest.approx(seconds(known, "1,2560,2560,1"))


def test_a_dry_run_has_the_number_of_the_form(store):
    target, arguments = cpu_target(), asked("1,2560,2560,1")
    record_known(store, device=target.record)
    plan = plan_suite(AD_HOC, Filters.from_arguments(arguments))
    planned = dry_run(store, plan, target, MeasureSettings(), None)
    found = estimate(store, AD_HOC, target.record.uuid, arguments, LIMITS)
    assert (planned.cells, planned.minutes) == (found.cells, round(found.seconds / 60, 2))


def test_without_a_run_or_with_unknown_cells_there_is_no_estimate(store, known):
    assert estimate(known, AD_HOC, "another", asked("1,2,2,1"), LIMITS).seconds is None
    assert estimate(known, "paper", CPU.uuid, {}, LIMITS) == (None, None, 0)
    assert estimate(known, AD_HOC, CPU.uuid, {"layer": ["64,64"]}, LIMITS) == (None, None, 0)


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"precision": ["fp32"]},
        {"pattern": ["6,64,64,1"]},
        {"pattern": ["6,64,64,1", "5,16,16,3"]},
        {"batch": [77]},
        {"batch": [77], "pattern": ["5,16,16,3"], "layout": ["batch_last"]},
        {"precision": ["fp32", "bf16"], "implementation": ["fused", "triton"]},
        {"baselines": ["expert"]},
    ],
)
@pytest.mark.parametrize("suite", ["nightly", "vit_s16", "smoke"])
def test_the_cells_are_those_that_the_profiler_plans(suite, arguments):
    def cells(filters):
        plan = plan_suite(suite, Filters.from_arguments(filters), device_kind="cpu")
        return {problem_key(problem): set(plan.names_of(problem)) for problem in plan.problems}

    every = {key: tuple(names) for key, names in cells({}).items()}
    chosen = {key: set(names) for key, names in chosen_cells(every, arguments).items()}
    assert chosen == cells(arguments)
