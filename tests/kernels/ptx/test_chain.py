"""chain.cu as nvcc compiles it: each precision and layout; more shapes and defects in the slow run."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
import torch

from kswatch.declared.precisions import SUITE_PRECISIONS
from kswatch.kernels.fused.cuda.nvcc import SOURCE_FOLDER
from kswatch.kernels.fused.cuda_chain.tile import ChainTile, Problems
from kswatch.kernels.fused.cuda_checks.all_tiles import kernels_unit
from kswatch.kernels.problem import LAYOUTS
from tests.kernels.chains import SHAPES, make_chain, problems_of, run_chain, small_tile
from tests.kernels.changed_sources import changed_sources
from tests.kernels.ptx.interpreter import READABLE, WRITABLE, Options, Program, array
from tests.kernels.ptx.products import aligned
from tests.kernels.ptx.programs import parsed, ptx_of

pytestmark = pytest.mark.usefixtures("nvcc")

KINDS = list(itertools.product(SUITE_PRECISIONS, LAYOUTS))


def case(number: int, shape: int) -> tuple[Problems, ChainTile]:
    """A chain of a precision and layout by a small pair of tiles, every second one in shares."""
    precision, layout = KINDS[number]
    problems = problems_of(*SHAPES[shape], precision, layout)
    return problems, small_tile(problems, shares=1 + 2 * (number // 2 % 2))


FAST = [case(number, number % 3) for number in range(len(KINDS))]
SLOW = [case(number, shape) for number in range(len(KINDS)) for shape in range(len(SHAPES))]


def program_of(cases: list[tuple[Problems, ChainTile]], architecture: int, folder: Path) -> Program:
    """The kernels of all cases from one run of nvcc; they are called ks_0_, ks_1_ and so on."""
    return parsed(ptx_of(kernels_unit([tile for _, tile in cases]), f"sm_{architecture}", folder))


def faults(
    cases: list[tuple[Problems, ChainTile]],
    number: int,
    architecture: int = 90,
    folder: Path = SOURCE_FOLDER,
    options: Options | None = None,
) -> list[str]:
    """What the interpreter finds while one of the cases is computed, a wrong product included."""
    problems, tile = cases[number]
    chain = make_chain(problems, seed=number + 1)
    chain.x, y, found = aligned(chain.x), aligned(chain.y), []

    def execute(unit, shape, packed, tensors):
        counts = y.new_zeros(y.nbytes, dtype=torch.uint8)
        arrays = [array(f"input {n}", one, READABLE) for n, one in enumerate(tensors[:-1])]
        arrays.append(array("y", tensors[-1], WRITABLE, counts))
        program = program_of(cases, architecture, folder)
        found.extend(program.launch(f"ks_{number}_", *shape, packed, arrays, options).faults)
        if unwritten := int((counts != 1).sum()):
            found.append(f"y: {unwritten} bytes not written exactly once")

    run_chain(chain, tile, execute, y)
    correctness = chain.correctness(y)
    return found if correctness.ok else [*found, f"wrong product: {correctness.reason}"]


@pytest.mark.parametrize("number", range(len(FAST)), ids=lambda number: "-".join(KINDS[number]))
def test_a_chain_is_right_and_every_access_is_clean(number):
    assert faults(FAST, number) == []


# ---- slow ----------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("number", range(len(SLOW)))
def test_every_shape_is_right_and_clean(number):
    assert faults(SLOW, number, options=Options(seed=number + 2)) == []


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("number", range(len(FAST)), ids=lambda number: "-".join(KINDS[number]))
def test_sm_80_is_right_and_clean(number):
    assert faults(FAST, number, architecture=80) == []


MUTANTS = {
    "no barrier after the intermediate": (
        "chain.cu",
        "barrier();  // the intermediate",
        "// the",
        "without a barrier",
    ),
    "no barrier before a step": ("chain.cu", "barrier();  // this", "// this", "without a barrier"),
    "no barrier before the store": ("chain.cu", "barrier();  // Y is", "// Y is", "without a barrier"),
    "a stage that is still read": ("chain.cu", "stage == 0 ? T::STAGES - 1 : stage - 1", "stage", ""),
    "a wait for too few": ("chain.cu", "STAGES - 2>()", "STAGES - 1>()", ""),
    "padding that is not cleared": (
        "chain.cuh",
        "clear_padding([&] { return a * d; });",
        "",
        "never written",
    ),
    "planes exchanged": ("chain.cuh", "columns(l / c, feature % d)", "columns(l / c, 0)", "wrong product"),
}


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("name", MUTANTS)
def test_a_planted_defect_is_found(name, tmp_path):
    file, source, planted, seen = MUTANTS[name]
    folder = changed_sources(tmp_path / "source", file, source, planted)
    options = Options(max_steps=2_000_000)
    found = [
        fault for number in range(len(FAST)) for fault in faults(FAST, number, folder=folder, options=options)
    ]
    assert any(seen in fault for fault in found), found
