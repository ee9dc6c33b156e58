"""Simulated devices: their names, and faults through the real child process."""

import threading

import pytest

from kswatch.errors import MeasurementError, UsageError
from kswatch.kernels import catalogue
from kswatch.kernels.families.base import LayerShape
from kswatch.kernels.pattern import Pattern
from kswatch.kernels.problem import Problem
from kswatch.profiler.devices import discovery as devices
from kswatch.profiler.devices.environment import environment
from kswatch.profiler.devices.preflight import preflight
from kswatch.profiler.devices.simulated_spec import BoardOptions, parse
from kswatch.profiler.executors.base import MeasureTask
from kswatch.profiler.executors.local import local_engine
from kswatch.profiler.measurement.loop import measure_problem
from kswatch.profiler.settings import MeasureSettings
from kswatch.profiler.simulated.backend import SimulatedBackend
from kswatch.profiler.simulated.board import Board
from kswatch.profiler.subjects.cells import structured_cell
from kswatch.profiler.subjects.problems import ModelForward

PROBLEM = Problem(Pattern(6, 64, 64, 4), 25_088, "fp16", "batch_last")
QUICK = MeasureSettings(half_width=0.05)


def test_the_name_gives_the_board_and_the_options_its_behaviour():
    one, other = devices.find("sim:h200"), devices.find("sim:h200?noise=0.1&fused=1.5")
    assert one.record == other.record
    assert one.record.uuid == "sim-h200"
    assert one.record.simulated
    assert "Simulated" in one.record.model
    assert other.spec == "sim:h200?noise=0.1&fused=1.5"
    assert devices.find("sim-a100-3").record == devices.find("sim:a100:3").record


def test_preflight_and_environment_mark_a_simulated_device():
    target = devices.find("sim:v100")
    assert "SIMULATED" in preflight(target).notes[0]
    assert environment(target).driver == "simulated"


@pytest.mark.parametrize("name", ["sim:h300", "sim:h200?colour=blue", "sim:h200?noise=loud", "sim:h200:1:2"])
def test_an_unknown_name_is_refused_with_the_known_ones(name):
    with pytest.raises(UsageError):
        parse(name)


@pytest.mark.parametrize(
    "option",
    [
        "without=magic",
        "without=power,nothing",
        "throttle=boredom",
        "noise=nan",
        "noise=-1",
        "seed=1e400",
        "seed=1.5",
    ]
    + ["memory=1", "tick_ms=0", "fused=0", "fused=-2", "hang_at=-1", "gain=inf", "drift=-2"],
)
def test_an_option_that_means_nothing_is_refused_with_the_possible_values(option):
    key = option.partition("=")[0]
    with pytest.raises(UsageError, match=f"{key}=.* of a simulated device is"):
        parse(f"sim:h200?{option}")


def test_the_energy_of_a_board_is_that_of_its_work():
    board = Board(BoardOptions(seed=1))
    board.run(2.0, 400.0)
    board.clock.advance(3.0)
    idle_mj = 1e3 * board.model.idle_w
    assert board.energy_mj(board.clock.now_s) == pytest.approx(2e3 * 400.0 + idle_mj)
    assert board.power_w(1.5) == pytest.approx(400.0)
    assert board.power_w(2.5, over_s=1.0) == pytest.approx((400.0 + board.model.idle_w) / 2)


NAMES = ("fused", "bmm", "einsum")


def measured_in_a_child(spec, watchdog_s=60.0, place=0):
    engine = local_engine(devices.find(spec), watchdog_s, threading.Event())
    try:
        records = engine.measure(MeasureTask(PROBLEM, NAMES, QUICK, seed=place))
        return {record.implementation: record for record in records}, engine
    finally:
        engine.close()


@pytest.mark.slow
def test_a_sticky_error_costs_only_the_cell_that_caused_it():
    found, _ = measured_in_a_child("sim:h200?seed=1&sticky_at=10", place=1)  # `bmm` of the second problem
    assert {name: record.status for name, record in found.items()} == {
        "fused": "ok",
        "bmm": "crashed",
        "einsum": "ok",
    }


@pytest.mark.slow
def test_a_hanging_cell_is_killed_and_the_others_are_measured():
    # `einsum` of the first problem; a busy machine may well keep a process waiting for seconds
    found, engine = measured_in_a_child("sim:h200?seed=1&hang_at=5", watchdog_s=15.0)
    assert found["einsum"].status == "crashed"
    assert "no progress for 15 s" in found["einsum"].reason
    assert (found["fused"].status, found["bmm"].status) == ("ok", "ok")
    assert engine.busy_s > 0


def measured(spec):
    target, implementations = devices.find(spec), [catalogue.implementation(name) for name in NAMES]
    backend = SimulatedBackend(parse(spec))
    found = measure_problem(PROBLEM, implementations, target, QUICK, backend=backend)
    return {record.implementation: record for record in found}


def test_a_wrong_result_is_incorrect_and_a_slower_one_is_slower():
    changed, usual = measured("sim:h200?seed=1&wrong_at=1&bmm=2"), measured("sim:h200?seed=1")
    assert changed["fused"].status == "incorrect"
    assert changed["bmm"].latency_ms == pytest.approx(2 * usual["bmm"].latency_ms, rel=0.05)


def test_a_broken_process_ends_the_problem():
    with pytest.raises(MeasurementError, match="illegal memory access"):
        measured("sim:h200?seed=1&sticky_at=2")


def measured_cells(board: str, problem, *names: str):
    """The records of cells of a layer or a model on a simulated board."""
    cells = [structured_cell(problem, name) for name in names]
    backend = SimulatedBackend(parse(board))
    return measure_problem(problem, cells, devices.find(board), QUICK, backend=backend)


def test_boards_before_ada_have_no_fp8():
    problem = Problem(Pattern(1, 64, 64, 2), 64, "fp8", "batch_first")
    assert SimulatedBackend(parse("sim:h200")).unsupported(problem) is None
    assert "8.9 (Ada)" in SimulatedBackend(parse("sim:a100")).unsupported(problem)


def test_a_model_has_its_share_of_linear_layers_and_a_layer_its_memory():
    dense, chain = measured_cells("sim:h200", ModelForward("vit_s16", 196, 8), "dense/fair", "ks/fused")
    shares = [record.counters[0].value for record in (dense, chain)]
    assert [record.counters[0].name for record in (dense, chain)] == ["linear_share"] * 2
    assert 0 < shares[1] < shares[0] < 1
    layer = LayerShape(1024, 4096, 196)
    (record,) = measured_cells("sim:h200", layer, "dense/linear")
    assert record.counters == ()
    assert record.memory_peak_bytes >= 4 * (1024 * 4096 + 196 * (1024 + 4096))


def test_sparse_tensor_cores_are_those_of_ampere_and_newer_boards_in_16_bits():
    layer, cell = LayerShape(1024, 4096, 196, "fp16"), "two_four/semi_structured"
    for board, status in (("sim:h200", "ok"), ("sim:v100", "unsupported")):
        (record,) = measured_cells(board, layer, cell)
        assert record.status == status
        assert status == "ok" or "8.0 (Ampere)" in record.reason
    (record,) = measured_cells("sim:h200", LayerShape(1024, 4096, 196), cell)
    assert (record.status, record.reason) == (
        "unsupported",
        "torch computes 2:4 sparsity in fp16 and bf16, not in fp32",
    )
