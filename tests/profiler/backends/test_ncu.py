"""Hardware counters through a stand-in for ncu with ncu's output, and each of its refusals."""

import stat

import pytest

from kswatch.db.queries import basic as queries
from kswatch.db.schema.tables import Counter
from kswatch.kernels import catalogue
from kswatch.kernels.pattern import Pattern
from kswatch.kernels.problem import Problem
from kswatch.profiler.backends import ncu as counters
from kswatch.profiler.backends.ncu import METRICS, read_counters
from kswatch.profiler.devices.discovery import cpu_target
from kswatch.profiler.measurement.loop import measure_problem
from kswatch.profiler.planning.run_options import RunOptions
from kswatch.profiler.runs.session import run_suite
from kswatch.profiler.settings import MeasureSettings

PROBLEM = Problem(Pattern(6, 64, 64, 1), 1_024, "fp16", "batch_first")
CPU_PROBLEM = Problem(Pattern(6, 16, 16, 1), 64, "fp32", "batch_last")
HEADER = ["ID", "Process ID", "Process Name", "Kernel Name", *METRICS]
UNITS = ["", "", "", "", "ns", "byte", "byte", "sector", "%", "%", "register/thread"]
KERNELS = [
    ["0", "11", "python", "gather", "1000", "600,000", "400000", "31250", "0", "80", "32"],
    ["1", "11", "python", "gemm", "3000", "1000000", "500000", "46875", "60.5", "40", "128"],
]


def table(rows=KERNELS):
    return "\n".join(",".join(f'"{value}"' for value in row) for row in (HEADER, UNITS, *rows))


@pytest.fixture
def ncu(tmp_path):
    """Creates a program that prints a text and exits with a code."""

    def make(output, code=0, sleeps_s=0):
        program = tmp_path / "ncu"
        (tmp_path / "output").write_text(output)
        program.write_text(f"#!/bin/sh\nsleep {sleeps_s}\ncat '{tmp_path / 'output'}'\nexit {code}\n")
        program.chmod(program.stat().st_mode | stat.S_IXUSR)
        return str(program)

    return make


def test_the_kernels_of_a_product_are_summed_and_percentages_weighted_by_time(ncu):
    output = f"==PROF== Connected to process 11\n==PROF== Disconnected\n{table()}\n"
    found = {reading.name: reading for reading in read_counters(PROBLEM, "bmm", ncu=ncu(output))}
    assert found["dram__bytes_read.sum"].value == 1_600_000
    assert found["dram__bytes_read.sum"].unit == "byte"
    assert found["lts__t_sectors.sum"].value == 78_125
    assert found["launch__registers_per_thread"].value == 128
    tensor = found["sm__pipe_tensor_cycles_active.avg.pct_of_peak_sustained_active"]
    assert (tensor.value, tensor.unit) == (pytest.approx(0.75 * 60.5), "%")
    ratio = found["dram_bytes_over_compulsory"]
    assert ratio.value == pytest.approx(2_500_000 / PROBLEM.compulsory_bytes)
    assert not any(reading.reason for reading in found.values())


def test_an_unsupported_metric_is_a_row_with_a_reason(ncu):
    rows = [[*KERNELS[1][:8], "n/a", *KERNELS[1][9:]]]
    found = {reading.name: reading for reading in read_counters(PROBLEM, "bmm", ncu=ncu(table(rows)))}
    tensor = found["sm__pipe_tensor_cycles_active.avg.pct_of_peak_sustained_active"]
    assert tensor.value is None
    assert "did not collect" in tensor.reason
    assert found["dram__bytes_read.sum"].value == 1_000_000


@pytest.mark.parametrize(
    ("output", "code", "expected"),
    [
        ("==ERROR== ERR_NVGPUCTRPERM - The user does not have permission to access ...", 1, "only root"),
        ("==ERROR== LibraryNotLoaded", 1, "LibraryNotLoaded"),
        ("==ERROR== Profiling is not supported on device 0", 1, "does not support this GPU"),
        ("==ERROR== Failed to find metric sm__pipe_tensor", 1, "does not know the metrics"),
        ("==WARNING== No kernels were profiled.", 0, "profiled no kernel"),
        ("Segmentation fault", 139, "exit code 139: Segmentation fault"),
        ("a banner and nothing else", 0, "printed no table"),
        (table([]), 0, "profiled no kernel"),
    ],
)
def test_every_refusal_is_one_row_with_a_reason(ncu, output, code, expected):
    (reading,) = read_counters(PROBLEM, "fused", ncu=ncu(output, code))
    assert (reading.name, reading.value) == ("counters", None)
    assert reading.reason.startswith("no counters: ")
    assert expected in reading.reason


def test_ncu_is_killed_after_its_timeout(ncu):
    (reading,) = read_counters(PROBLEM, "fused", ncu=ncu("", sleeps_s=30), timeout_s=0.2)
    assert "longer than 0.2 s" in reading.reason


def test_a_machine_without_ncu_gets_the_package_to_install(monkeypatch):
    monkeypatch.setattr(counters, "find_tool", lambda name: None)
    (reading,) = read_counters(PROBLEM, "fused")
    assert "install NVIDIA Nsight Compute" in reading.reason


@pytest.mark.slow
@pytest.mark.parametrize(
    ("device", "origin", "expected"),
    [
        ("sim:h200?seed=1", "simulated", "this device is simulated"),
        ("cpu", "measured", "this device is the CPU"),
    ],
)
def test_a_run_with_counters_stores_them_or_the_reason_why_there_are_none(store, device, origin, expected):
    filters = {"pattern": ["6,16,16,1"], "batch": [64], "layout": ["batch_last"], "counters": True}
    result = run_suite(store, "ad_hoc", device, filters={**filters, "implementation": ["bmm"]})
    assert set(result.by_status) <= {"ok", "not_converged"}
    assert queries.run(store, result.run).origin == origin
    with store.session() as session:
        (row,) = session.query(Counter).all()
    assert (row.name, row.value) == ("counters", None)
    assert expected in row.reason


def test_counters_of_a_cpu_are_refused_with_a_reason_and_its_times_are_kept():
    settings = RunOptions(counters=True).settings(MeasureSettings(half_width=0.5, min_timed_ms=1))
    [bmm] = measure_problem(CPU_PROBLEM, [catalogue.implementation("bmm")], cpu_target(), settings)
    assert bmm.latency_ms > 0
    [reading] = bmm.counters
    assert "NVIDIA GPUs only, and this device is the CPU" in reading.reason
