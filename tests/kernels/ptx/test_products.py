"""The fused product as nvcc compiles it, run in full: one of each kind here, all of them in the slow run."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from kswatch.kernels.fused.cuda import trust_record
from kswatch.kernels.fused.cuda.gpu_properties import GpuProperties
from kswatch.kernels.fused.cuda.tile import FAMILIES, Tile
from kswatch.kernels.fused.cuda_checks.trials import SHAPES, Trial, trials
from kswatch.kernels.pattern import Pattern
from kswatch.kernels.problem import ELEMENT_BYTES, LAYOUTS, PRECISIONS, Problem
from tests.kernels.ptx.interpreter import Options
from tests.kernels.ptx.products import compute
from tests.kernels.ptx.programs import compile_together

pytestmark = pytest.mark.usefixtures("nvcc")

H200 = GpuProperties(90, 132)
KINDS = ("plain", "parts", "walkers")
TRIED_FAMILIES = ("cores", "tensor_cores")
PLAIN_SHAPE, MANY_SHAPE = SHAPES[1], SHAPES[2]


def all_trials() -> Iterator[Trial]:
    """Those of `python -m kswatch.kernels.fused.cuda_checks.trials`."""
    for family in TRIED_FAMILIES:
        for precision in PRECISIONS:
            yield from trials(family, precision, H200)


def small_trials() -> Iterator[Trial]:
    """One of each family, precision and layout, of each kind in turn."""
    found = [trial for trial in all_trials() if trial.problem.flops < 1e7]
    for number, family in enumerate(TRIED_FAMILIES):
        for precision in PRECISIONS:
            for layout in LAYOUTS:
                matching = [
                    trial
                    for trial in found
                    if (trial.tile.family, trial.problem.precision, trial.problem.layout)
                    == (family, precision, layout)
                ]
                if matching:
                    number += 1
                    wanted = KINDS[number % len(KINDS)]
                    yield next((trial for trial in matching if trial.kind == wanted), matching[0])


def warpgroup_pairs() -> list[tuple[Problem, Tile]]:
    """Those of `python -m kswatch.kernels.fused.cuda_checks.trust`."""
    groups = trust_record.checks_by_group(H200).values()
    return [(problem, tile) for pairs in groups for problem, tile in pairs]


def small_pairs() -> list[tuple[Problem, Tile]]:
    """Seven: each precision in each layout that it has, of different sizes, and some precisions again."""
    small = [pair for pair in warpgroup_pairs() if pair[0].batch == 72 and pair[1].family == "warpgroups"]
    chosen: dict[tuple[object, ...], tuple[Problem, Tile]] = {}
    for problem, tile in small:
        chosen.setdefault((problem.precision, problem.layout, tile.batch), (problem, tile))
    return list(chosen.values())[:7]


def name_of(case: object) -> str:
    return str(case.problem if isinstance(case, Trial) else case)


SMALL_TRIALS, SMALL_PAIRS = list(small_trials()), small_pairs()


@pytest.fixture(scope="module")
def compiled(nvcc: None) -> None:
    """All programs of the fast run, by two compilers at the same time."""
    tiles = [trial.tile for trial in SMALL_TRIALS] + [tile for _, tile in SMALL_PAIRS]
    compile_together((tile, 90) for tile in tiles)


def test_the_fast_run_covers_each_family_precision_and_layout():
    covered = {(t.tile.family, t.problem.precision, t.problem.layout) for t in SMALL_TRIALS}
    every = {(t.tile.family, t.problem.precision, t.problem.layout) for t in all_trials()}
    assert covered == every
    assert {trial.kind for trial in SMALL_TRIALS} == set(KINDS)
    assert {pair[1].family for pair in warpgroup_pairs()} | set(TRIED_FAMILIES) == set(FAMILIES)
    assert len(SMALL_PAIRS) == 7


@pytest.mark.parametrize("trial", SMALL_TRIALS, ids=name_of)
def test_a_trial_is_right_and_every_access_is_clean(compiled, trial):
    assert compute(trial.problem, trial.tile).faults == []


@pytest.mark.parametrize(("problem", "tile"), SMALL_PAIRS, ids=name_of)
def test_a_warpgroup_product_is_right_and_every_access_is_clean(compiled, problem, tile):
    assert compute(problem, tile, with_bias=False).faults == []


@pytest.mark.slow
@pytest.mark.parametrize("layout", LAYOUTS)
def test_x_of_fp8_in_e5m2_is_right_and_every_access_is_clean(layout):
    found = next(trial for trial in trials("tensor_cores", "fp8", H200) if trial.problem.layout == layout)
    assert compute(found.problem, replace(found.tile, wide_range=True)).faults == []


SHIFTED = Problem(Pattern(2, 24, 40, 1), 40, "fp16", "batch_first")


@pytest.mark.parametrize(("x_shift", "y_shift"), [(1, 0), (0, 2), (3, 1)])
def test_views_that_begin_anywhere_use_narrower_accesses(x_shift, y_shift):
    tile = next(
        trial.tile for trial in trials("tensor_cores", "fp16", H200) if trial.problem.layout == SHIFTED.layout
    )
    tile = replace(tile, vector_bytes=16)
    found = compute(SHIFTED, tile, x_shift=x_shift, y_shift=y_shift)
    assert found.faults == []
    assert [used.vector_bytes for _, used in found.launches] == [4 if (x_shift, y_shift) == (0, 2) else 2]


# ---- slow ----------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("family", TRIED_FAMILIES)
@pytest.mark.parametrize("precision", PRECISIONS)
def test_all_trials_are_right_and_clean(family, precision):
    chosen = [trial for trial in trials(family, precision, H200)]
    assert chosen or (family, ELEMENT_BYTES[precision]) == ("tensor_cores", 8)
    compile_together((trial.tile, 90) for trial in chosen)
    wrong = {
        f"{trial.problem}, {trial.tile}": faults
        for number, trial in enumerate(chosen)
        if (faults := compute(trial.problem, trial.tile, options=Options(seed=number + 1)).faults)
    }
    assert wrong == {}


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("group", trust_record.checks_by_group(H200))
def test_all_pairs_of_trust_are_right_and_clean(group):
    chosen = trust_record.checks_by_group(H200)[group]
    compile_together((tile, 90) for _, tile in chosen)
    wrong = {
        f"{problem}, {tile}": faults
        for number, (problem, tile) in enumerate(chosen)
        if (faults := compute(problem, tile, options=Options(seed=number + 1), with_bias=False).faults)
    }
    assert wrong == {}


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("architecture", [75, 80])
def test_older_architectures_are_right_and_clean(architecture):
    gpu = GpuProperties(architecture, 40)
    chosen = [
        trial
        for family in TRIED_FAMILIES
        for precision in PRECISIONS
        for trial in trials(family, precision, gpu)
        if trial.problem.flops < 1e7
    ]
    compile_together((trial.tile, architecture) for trial in chosen)
    assert chosen
    for trial in chosen:
        assert compute(trial.problem, trial.tile, architecture).faults == [], str(trial)
