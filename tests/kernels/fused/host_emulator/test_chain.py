"""chain.cu on the CPU: the bits of two launches, in every precision and layout, with tails and shares."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import NamedTuple

import pytest
import torch

from kswatch.declared.precisions import SUITE_PRECISIONS
from kswatch.kernels.fused.cuda.gpu_properties import GpuProperties
from kswatch.kernels.fused.cuda_chain import candidates
from kswatch.kernels.fused.cuda_chain.tile import Problems
from kswatch.kernels.problem import LAYOUTS
from tests.kernels.chains import H200, SHAPES, make_chain, problems_of, small_tile
from tests.kernels.fused.host_emulator.chain_launches import in_one_launch, in_two_launches, seen_defect

pytestmark = pytest.mark.usefixtures("host_compiler")


QUICK = {("fp16", "batch_first", 2), ("fp32", "batch_last", 1), ("tf32", "batch_first", 0)}
"""Precision, layout and shape: the kinds of fragments, both layouts and all tails once."""


def cases():
    for precision, layout, number in itertools.product(SUITE_PRECISIONS, LAYOUTS, range(len(SHAPES))):
        marks = () if (precision, layout, number) in QUICK else pytest.mark.slow
        problems = problems_of(*SHAPES[number], precision, layout)
        yield pytest.param(problems, marks=marks, id=f"{precision}-{layout}-{number}")


@pytest.mark.parametrize("problems", list(cases()))
def test_one_launch_gives_the_bits_of_two(problems):
    chain = make_chain(problems)
    apart = in_two_launches(chain, small_tile(problems))
    assert chain.correctness(apart).ok
    for shares in (1, 3):
        together = in_one_launch(chain, small_tile(problems, shares=shares), order=shares)
        assert torch.equal(together, apart)


@pytest.mark.slow
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("precision", SUITE_PRECISIONS)
def test_the_chosen_pair_is_right_at_the_edges_of_a_batch_tile(precision, layout):
    problems = problems_of((2, 48, 192, 1), (1, 192, 48, 2), 25_088, precision, layout)
    tile = candidates.choose(problems, H200)
    first, second = (replace(one, batch=tile.first.batch + 8) for one in problems)
    chain = make_chain((first, second))
    assert chain.correctness(in_one_launch(chain, tile)).ok


@pytest.mark.slow
@pytest.mark.parametrize("layout", LAYOUTS)
def test_cuda_cores_compute_16_bits_without_tensor_cores(layout):
    problems = problems_of(*SHAPES[0], "fp16", layout)
    tile = small_tile(problems, GpuProperties(75, 40))
    assert {tile.first.family, tile.second.family} == {"cores"}
    chain = make_chain(problems)
    assert chain.correctness(in_one_launch(chain, tile)).ok


LAST = problems_of(*SHAPES[0], "bf16", "batch_last")
TURNED = problems_of(*SHAPES[2], "fp16", "batch_first")
SHORT = problems_of((1, 16, 24, 1), (1, 18, 8, 2), 21, "bf16", "batch_last")
"""One step of the first factor, whose stage the second factor's first copies take over."""
NARROW = problems_of((24, 5, 8, 1), (1, 40, 10, 12), 40, "fp16", "batch_first")
"""Tiles of the first factor have fewer features than the second one has j's: shares leave some out."""


@pytest.mark.slow
def test_shares_that_leave_tiles_of_the_first_factor_out_are_right():
    chain = make_chain(NARROW)
    assert chain.correctness(in_one_launch(chain, small_tile(NARROW, shares=3))).ok


class Mutant(NamedTuple):
    """`source` is replaced by `planted` in a file; the chain then has an error with the text `seen`."""

    file: str
    source: str
    planted: str
    problems: Problems
    seen: str
    shares: int = 1


MUTANTS = {
    "no barrier after the intermediate": Mutant(
        "chain.cu", "barrier();  // the intermediate", ";  // the intermediate", SHORT, "race"
    ),
    "no barrier before a step": Mutant("chain.cu", "barrier();  // this", "// this", LAST, "race"),
    "no barrier before the store": Mutant("chain.cu", "barrier();  // Y is", "// Y is", LAST, "race"),
    "no barrier after the turn": Mutant("chain.cu", "            barrier();\n", "", TURNED, "race"),
    "a wait for too few": Mutant("chain.cu", "STAGES - 2>()", "STAGES - 1>()", LAST, "race"),
    "a stage that is still read": Mutant(
        "chain.cu", "stage == 0 ? T::STAGES - 1 : stage - 1", "stage", LAST, "race"
    ),
    "padding that is not cleared": Mutant(
        "chain.cuh", "clear_padding([&] { return a * d; });", "", LAST, "NaN"
    ),
    "features of the first factor in their own order": Mutant(
        "chain.cuh",
        "columns(l / c, feature % d)",
        "columns(l / c, (feature + 1) % d)",
        LAST,
        "relative error",
    ),
    "rows of the first factor past the last": Mutant(
        "chain.cuh", "if (at.k0 + m >= first.b) return;", "", LAST, ""
    ),
    "a tile of the first factor left out": Mutant(
        "chain.cuh", "j + count > j_begin", "j > j_begin", NARROW, "NaN", 3
    ),
    "j's of the neighbouring share": Mutant(
        "chain.cu", "to % groups + 1) * Second::J", "to % groups) * Second::J", NARROW, "NaN", 3
    ),
    "weights of the first tile": Mutant(
        "chain.cuh", "static_cast<long long>(tile) * steps", "0LL * steps", TURNED, "relative error"
    ),
    "a share left out": Mutant("chain.cu", "share * each", "(share + 1) * each", LAST, "NaN", 3),
}
FAST = {"no barrier after the intermediate", "padding that is not cleared"}


@pytest.mark.parametrize(
    "name", [name if name in FAST else pytest.param(name, marks=pytest.mark.slow) for name in MUTANTS]
)
def test_a_planted_defect_is_found(monkeypatch, tmp_path, name):
    mutant = MUTANTS[name]
    tile = small_tile(mutant.problems, shares=mutant.shares)
    seen = seen_defect(monkeypatch, tmp_path, mutant, tile)
    assert mutant.seen in seen and seen != "nothing"
