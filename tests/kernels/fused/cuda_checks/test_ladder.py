"""The table of kernel versions in KERNEL_LOG.md, and the gains that the model predicts for each version."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest

import kswatch.kernels.fused
from kswatch.kernels.fused.cuda import estimate
from kswatch.kernels.fused.cuda.tile_candidates import persistent_tiles
from kswatch.kernels.fused.cuda_checks import chain_ladder, ladder

LOG = Path(kswatch.kernels.fused.__file__).with_name("KERNEL_LOG.md")
GAINS = {
    "tensor cores": set(ladder.PROBLEMS[:8]),  # all but fp32 with 64 columns
    "parts of c": {ladder.PROBLEMS[6]},  # too few blocks at batch 16
    "walkers": {ladder.PROBLEMS[4]},  # sixteen j's in batch_first
    "wgmma, TMA": {ladder.PROBLEMS[1], ladder.PROBLEMS[2], ladder.PROBLEMS[9]},  # large b and c
    "persistent": {ladder.PROBLEMS[1], ladder.PROBLEMS[2]},
}
"""The problems that each version was made for: there it is predicted to beat the version before it."""


def gains() -> dict[str, set]:
    found = {name: set() for name in GAINS}
    for problem in ladder.PROBLEMS:
        times = {
            name: ladder.predicted_ms(problem, tile) for name, tile in ladder.best_tiles(problem).items()
        }
        for before, after in pairwise(times):
            if times[after] < 0.99 * times[before]:
                found[after].add(problem)
    return found


def test_the_log_contains_the_printed_table():
    assert ladder.table() in LOG.read_text(), (
        "run `python -m kswatch.kernels.fused.cuda_checks.ladder` and paste the table"
    )


def test_the_log_contains_the_table_of_chains_with_a_line_for_each_precision():
    table = ladder.chain_table()
    assert table in LOG.read_text(), (
        "run `python -m kswatch.kernels.fused.cuda_checks.ladder` and paste the table"
    )
    assert len(table.splitlines()) == 2 + 13 * 3  # three chains of ViT-S/16, ten of GPT-2 medium


def test_one_launch_is_predicted_to_pay_where_the_log_names_it():
    lines = {(line[0], line[2]): line[3:] for line in chain_ladder.lines(ladder.H200, ladder.CLOCK_HZ)}
    starred = {key: [cell.endswith("*") for cell in cells] for key, cells in lines.items()}
    assert {key: cells for key, cells in starred.items() if any(cells)} == {
        ("2,48,192,1, 1,192,48,2", "fp16"): [True] * 5,
        ("2,48,192,1, 1,192,48,2", "fp32"): [True] * 5,
        ("2,48,192,1, 1,192,48,2", "tf32"): [True] * 4 + [False],
        ("6,64,64,1, 1,768,192,2", "fp16"): [True] * 3 + [False] * 2,
        ("6,64,256,1, 1,128,128,3", "fp16"): [True] * 3 + [False] * 2,
    }
    wide = lines["64,64,64,1, 1,64,256,16", "fp32"]
    assert all(cell.endswith(" in 8") for cell in wide)


def test_each_version_gains_on_the_problems_that_it_was_made_for():
    assert gains() == GAINS


@pytest.mark.parametrize(
    ("constant", "value", "version"),
    [
        ("MULTIPLY_ADDS", dict.fromkeys(estimate.MULTIPLY_ADDS, 16), "tensor cores"),
        ("LAUNCH_CYCLES", 3e6, "parts of c"),
        ("L2_BYTES", 4e6, "walkers"),
        ("WARPGROUP_GAIN", 0.25, "wgmma, TMA"),
        ("WARPGROUP_GAIN", 0.5, "persistent"),
    ],
)
def test_a_version_without_its_advantage_in_the_model_gains_nowhere(monkeypatch, constant, value, version):
    monkeypatch.setattr(estimate, constant, value)
    assert gains()[version] == set()


def test_persistent_blocks_reach_the_goal_of_the_largest_product():
    """0.085 ms, where a library product at 790 TFLOP/s takes 0.067."""
    times = {
        name: ladder.predicted_ms(ladder.PROBLEMS[1], tile)
        for name, tile in ladder.best_tiles(ladder.PROBLEMS[1]).items()
    }
    assert times["persistent"] <= 0.085 < times["wgmma, TMA"]
    assert times["persistent"] > 1e3 * 2 * 25_088 * 1024**2 / 790e12


def test_a_step_of_persistent_blocks_has_the_bytes_of_the_log():
    """256 x 192 x 64 in 16 bits: 24 KiB of X and half of 32 KiB of weights; 128 KiB are read for wgmma."""
    problem = ladder.PROBLEMS[1]
    (tile,) = persistent_tiles(problem, ladder.H200)
    multiply, shared, l2 = estimate.step_cycles(problem, tile)
    assert multiply == 256 * 192 * 64 / (1024 * 1.6)
    assert shared == (56 + 128) * 1024 / 128
    assert l2 == (24 + 16) * 1024 / 40


def test_the_floor_is_the_time_of_the_compulsory_bytes():
    # 2 bytes x (25,088 x 384 in, 25,088 x 384 out, 6 x 64 x 64 weights) = 38,584,320 bytes at 4.3 TB/s
    assert ladder.floor_ms(ladder.PROBLEMS[0]) == pytest.approx(0.0089731, rel=1e-4)


def test_the_prediction_is_the_estimate_but_never_below_the_floor(monkeypatch):
    problem = ladder.PROBLEMS[0]
    tile = next(ladder.every_tile(problem))
    monkeypatch.setattr(ladder, "cycles", lambda *arguments: 3.4e6)
    assert ladder.predicted_ms(problem, tile) == pytest.approx(2.0)  # at 1.7 GHz
    monkeypatch.setattr(ladder, "cycles", lambda *arguments: 1.0)
    assert ladder.predicted_ms(problem, tile) == ladder.floor_ms(problem)
