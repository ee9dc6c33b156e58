"""The floor over the latency of fused in a run, and why a value is above 1."""

from __future__ import annotations

import pytest

from kswatch.db.queries.speed_of_light import newest_speed_of_light, speed_of_light
from kswatch.db.records import CanaryRecord
from tests.db.sample_records import CPU, measured, problem, run_record

KINDS = ("nightly",)
COPY, GEMM = 1e9, 1e12


def run_of(store, rows, clock_mhz=None, device=CPU):
    run_id = store.begin_run(run_record(device=device))
    store.record_problem(run_id, rows)
    canaries = [("copy", COPY), ("gemm", GEMM)]
    store.record_canaries(
        run_id,
        [CanaryRecord("start", name, "fp32", 1.0, rate, sm_clock_mhz=clock_mhz) for name, rate in canaries],
    )
    store.finish_run(run_id)
    return run_id


def fused(d, ratio, **changes):
    return measured(problem(d), "fused", 1.0, floor_ms=ratio, floor_ratio=ratio, **changes)


def test_a_run_has_the_median_and_the_worst_of_fused_by_precision_and_layout(store):
    rows = [fused(d, ratio) for d, ratio in ((1, 0.5), (2, 0.2), (3, 0.9))]
    rows.append(measured(problem(1), "bmm", 1.0, floor_ratio=0.01))
    rows.append(measured(problem(1, "bf16"), "fused", 1.0, floor_ratio=0.4))
    rows.append(measured(problem(4), "fused", 1.0))
    run_id = run_of(store, rows)
    found = {
        (row.precision, row.statistic): (row.value, row.problems) for row in speed_of_light(store, run_id)
    }
    assert found == {
        ("bf16", "median"): (0.4, 1),
        ("bf16", "worst"): (0.4, 1),
        ("fp32", "median"): (0.5, 3),
        ("fp32", "worst"): (0.2, 3),
    }


def test_an_incorrect_result_and_one_with_warm_caches_do_not_count(store):
    rows = [fused(1, 0.5), fused(1, 0.99, mode="hot"), fused(2, 0.9, status="incorrect")]
    run_id = run_of(store, rows)
    assert {row.value for row in speed_of_light(store, run_id)} == {0.5}


@pytest.mark.parametrize(
    ("why", "bytes_moved", "flops", "clock_mhz", "cache_bytes"),
    [
        ("cache", 10**9, 1, 1000.0, 2**40),
        ("boost", 10**9, 1, 1100.0, 1),
        ("counting", 10**9, 1, 1000.0, 1),
        ("counting", 10**9, 1, None, None),
        ("boost", 1, 10**12, 1100.0, 2**40),
        ("counting", 1, 10**12, 1000.0, 2**40),
    ],
)
def test_a_value_above_1_has_its_likely_reason_in_words(
    store, why, bytes_moved, flops, clock_mhz, cache_bytes
):
    device = type(CPU)("cpu-x", "cpu", "CPU", cache_bytes=cache_bytes)
    facts = {"bytes_moved": bytes_moved, "flops": flops, "sm_clock_mhz": clock_mhz}
    run_id = run_of(store, [fused(1, 1.2, **facts), fused(2, 0.5)], 1000.0, device)
    (found,) = newest_speed_of_light(store, 1, KINDS, run_id=run_id)
    assert (found.over_one, found.over_one_reasons) == (1, {why: 1})
    assert found.explanation.startswith("1 of 2 problems are faster than the floor: 1 since ")
    word = {"cache": "cache", "boost": "clock", "counting": "counts more"}[why]
    assert word in found.explanation


def test_operands_that_were_partly_in_the_cache_explain_a_value_above_1(store):
    device = type(CPU)("cpu-x", "cpu", "CPU", cache_bytes=1)
    run_id = run_of(store, [fused(1, 1.2, bytes_moved=10**9, flops=1, flags=("partly_hot",))], None, device)
    (found,) = newest_speed_of_light(store, 1, KINDS, run_id=run_id)
    assert found.over_one_reasons == {"cache": 1}


def test_the_newest_run_with_a_floor_counts(store):
    first = run_of(store, [fused(1, 0.5)])
    run_of(store, [measured(problem(1), "fused", 1.0)])
    (found,) = newest_speed_of_light(store, 1, KINDS)
    assert (found.run, found.median, found.worst, found.explanation) == (first, 0.5, 0.5, "")
    assert newest_speed_of_light(store, 1, KINDS, precision="bf16") == []
