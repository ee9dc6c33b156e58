"""Layers and models through the measuring loop on this CPU; small ones, since no time is judged here."""

from dataclasses import replace

import pytest
import torch

from kswatch.db.records import DENSE_FAIR, DENSE_LAYER
from kswatch.errors import UsageError
from kswatch.kernels.families.base import LayerShape
from kswatch.profiler.backends import structured_modules
from kswatch.profiler.backends.layer_modules import LayerModules
from kswatch.profiler.backends.model_modules import ModelModules
from kswatch.profiler.backends.structured_modules import run_once, structured_workload
from kswatch.profiler.devices.discovery import cpu_target
from kswatch.profiler.measurement.cells_by_name import cell_by_name
from kswatch.profiler.measurement.loop import measure_problem
from kswatch.profiler.settings import MeasureSettings
from kswatch.profiler.subjects.cells import dense_demand, structured_cell
from kswatch.profiler.subjects.problems import ModelForward

QUICK = MeasureSettings(
    half_width=0.5, min_samples=6, min_timed_ms=0.1, min_effective_samples=2, cell_cap_ms=200
)
SHAPE = LayerShape(64, 64, 10)
CPU = torch.device("cpu")
BLOCK = ModelForward("gpt2_block", 196, 1)
BLOCK_CELLS = (DENSE_FAIR, "ks 16,64,256,1;1,64,64,16/bmm")


def measured(problem, names, settings=QUICK, backend=None):
    cells = [cell_by_name(problem, name) for name in names]
    found = measure_problem(problem, cells, cpu_target(), settings, backend=backend)
    return {record.implementation: record for record in found}


@pytest.fixture
def alone(monkeypatch):
    """Without processes of their own, which take a second each."""
    monkeypatch.setattr("kswatch.profiler.backends.base.peak_growth_bytes", lambda *_: 12_345)


def test_every_family_of_a_layer_has_a_record_with_ratio_parameters_and_error(alone):
    names = (
        DENSE_LAYER, "low_rank 8/fused", "monarch 8,8/bmm", "butterfly/bmm", "blast 8,8/bmm",
        "btt 8,8,1/fused", "ks 1,16,64,1;4,16,4,1/bmm", "stl 4,24/fused", "stl 4,24/stl_bmm",
    )  # fmt: skip
    records = measured(SHAPE, names)
    assert {record.status for record in records.values()} <= {"ok", "not_converged"}, records
    for name, record in records.items():
        assert record.relative_error < 4e-6
        assert (record.ratio_to_fused is None) == (name == DENSE_LAYER)
        assert record.memory_peak_bytes == 12_345
        assert record.problem.subject == "layer"
    assert records["low_rank 8/fused"].parameters == 8 * 128
    assert records["low_rank 8/fused"].flops == 2 * 10 * 8 * 128


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("two_four/semi_structured", "sparse tensor cores"),
        ("butterfly/fused", "a power of two"),
        ("monarch 7,8/fused", "not a multiple of 7"),
        ("stl 3,24/fused", "not a multiple of the tile 3"),
        ("ks 1,16,64,1;1,32,8,1/fused", "do not chain"),
        ("ks 1,16,64,1;1,32,16,1/fused", "makes 64 -> 32"),
    ],
)
def test_a_shape_that_a_family_cannot_take_is_unsupported_with_the_reason(alone, name, reason):
    shape = SHAPE if name != "butterfly/fused" else LayerShape(64, 96, 4)
    record = measured(shape, [name])[name]
    assert record.status == "unsupported"
    assert reason in record.reason


def test_a_layer_that_does_not_fit_is_out_of_memory(alone, monkeypatch):
    monkeypatch.setattr("kswatch.profiler.backends.base.CpuBackend.free_bytes", lambda _: 1_000)
    record = measured(SHAPE, [DENSE_LAYER])[DENSE_LAYER]
    assert record.status == "out_of_memory"
    assert "GB are free" in record.reason


def test_a_wrong_layer_is_incorrect(alone, monkeypatch):
    build = LayerModules.build

    def broken(self, cell):
        module = build(self, cell)
        if cell.implementation == "fused":
            return lambda x: module(x) * 1.001
        return module

    monkeypatch.setattr(LayerModules, "build", broken)
    monkeypatch.setattr(
        "kswatch.profiler.backends.layer_modules.reference",
        lambda module, x, precision: build_reference(x),
    )
    shape = replace(SHAPE, batch=4)
    truth = build(LayerModules(shape, CPU, 0), structured_cell(shape, "low_rank 8/bmm"))

    def build_reference(x):
        with torch.no_grad():
            return truth(x).double()

    records = measured(shape, ["low_rank 8/bmm", "low_rank 8/fused"])
    assert records["low_rank 8/bmm"].status in ("ok", "not_converged")
    assert records["low_rank 8/fused"].status == "incorrect"
    assert "relative error 1.00e-03" in records["low_rank 8/fused"].reason


def test_only_the_ends_of_a_large_batch_are_compared_but_all_of_it_must_be_finite():
    shape = LayerShape(256, 256, 20_000)
    modules = LayerModules(shape, CPU, 0)
    cell = structured_cell(shape, DENSE_LAYER)
    rows = modules._checked_rows(cell)
    assert (rows[0], rows[-1], len(rows) % 64) == (0, 19_999, 20_000 % 64)
    assert 2 * len(rows) * 256 * 256 < 2.1e9
    with torch.inference_mode():
        x = modules.make_input()
        module = modules.build(cell)
        y = module(x)
        assert modules.correctness(cell, module, x, y).ok
        y[10_000, 3] = float("nan")
        assert "1 of 5120000 elements are NaN" in modules.correctness(cell, module, x, y).reason


def test_a_changed_input_is_incorrect_and_restored():
    workload = structured_workload(SHAPE, CPU, 0)
    launchable = workload.prepare(structured_cell(SHAPE, DENSE_LAYER))
    assert workload.check(launchable, None).ok
    run = workload._run[DENSE_LAYER]
    workload._run[DENSE_LAYER] = lambda x: run(x) if x.add_(1) is None else run(x.sub_(0.5))
    assert workload.check(launchable, None).reason.startswith(("it changed", "relative"))
    workload._run[DENSE_LAYER] = run
    assert workload.check(launchable, None).ok
    workload.close()


@pytest.mark.slow
def test_a_block_of_gpt2_is_measured_with_its_share_of_linear_layers(alone):
    records = measured(BLOCK, BLOCK_CELLS, QUICK.for_models())
    dense, chain = records.values()
    assert dense.status in ("ok", "not_converged")
    assert (dense.parameters, chain.parameters) == (12_596_224, 12_596_224 - 4_194_304 + 327_680)
    assert chain.ratio_to_fused > 0 and dense.ratio_to_fused is None
    for record in records.values():
        assert record.relative_error < 3e-5
        (share,) = record.counters
        assert share.name == "linear_share" and 0 < share.value < 1


def test_a_cuda_graph_on_a_cpu_is_unsupported(alone):
    record = measured(replace(BLOCK, execution="graph"), [DENSE_FAIR])[DENSE_FAIR]
    assert (record.status, record.problem.subject) == ("unsupported", "gpt2_block graph")
    assert "CUDA graph needs an NVIDIA GPU" in record.reason


def test_a_model_above_its_time_limit_is_too_slow(alone):
    record = measured(BLOCK, [DENSE_FAIR], replace(QUICK, too_slow_ms=0.01))[DENSE_FAIR]
    assert record.status == "too_slow"
    assert "ms per forward" in record.reason


@pytest.mark.slow
def test_larger_batches_of_a_model_are_compared_with_bmm(alone):
    cells = ("ks 16,64,256,1;1,64,64,16/fused",)
    records = measured(replace(BLOCK, batch=2), cells, QUICK.for_models())
    (record,) = records.values()
    assert record.relative_error is not None and record.relative_error < 3e-5  # 0 where both sum alike


def test_an_unknown_variant_is_a_usage_error():
    with pytest.raises(UsageError, match="no variant"):
        structured_cell(BLOCK, "ks/fused")
    with pytest.raises(UsageError, match="196 tokens"):
        structured_cell(replace(BLOCK, tokens=197), DENSE_FAIR)


def test_a_cell_computes_once_for_its_memory_on_the_threads_that_are_asked_for(monkeypatch):
    modules, computed = LayerModules(SHAPE, torch.device("cpu"), 0), []
    build = modules.build

    def counting(cell):
        forward = build(cell)
        return lambda x: computed.append((forward(x).shape, torch.get_num_threads()))

    monkeypatch.setattr(modules, "build", counting)
    monkeypatch.setattr(structured_modules, "modules_of", lambda problem, device, seed: modules)
    before = torch.get_num_threads()
    try:
        run_once(SHAPE, "low_rank 8/fused", seed=0, threads=1)
    finally:
        torch.set_num_threads(before)
    assert computed == [((SHAPE.batch, SHAPE.out_features), 1)]


@pytest.mark.slow
def test_the_peak_of_a_fresh_process_holds_at_least_the_weights():
    from kswatch.profiler.backends.fresh_memory import peak_growth_bytes

    shape = LayerShape(4096, 4096, 1)
    grown = peak_growth_bytes(run_once, shape, DENSE_LAYER, 0, 1)
    weights = dense_demand(shape).parameter_bytes
    assert weights < grown < 6 * weights
    assert peak_growth_bytes(run_once, shape, "nothing/here", 0, 1) is None


def run_with_drawn_weights(forward: ModelForward, name: str) -> None:
    """As `run_once`, with the weights that are measured."""
    torch.set_num_threads(1)
    modules = ModelModules(forward, torch.device("cpu"), 0)
    with torch.inference_mode():
        modules.build(structured_cell(forward, name))(modules.make_input())


@pytest.mark.slow
@pytest.mark.parametrize("name", ["dense/fair", "ks/fused"])
def test_the_peak_of_a_model_does_not_depend_on_the_values_of_its_weights(name):
    from kswatch.profiler.backends.fresh_memory import peak_growth_bytes

    def least_peak(*call) -> int:
        """Of three: pages that the system took back from the idle server count when they are read again."""
        return min(found for _ in range(3) if (found := peak_growth_bytes(*call)) is not None)

    forward = ModelForward("vit_s16", 196, 1, "bf16")
    equal = least_peak(run_once, forward, name, 0, 1)
    assert equal == pytest.approx(least_peak(run_with_drawn_weights, forward, name), rel=0.02)
