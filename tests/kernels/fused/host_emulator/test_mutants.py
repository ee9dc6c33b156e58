"""Defects planted in the .cu source: each is found on the CPU, as a race, a stray access or a wrong Y."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import pytest

from kswatch.kernels.fused.cuda.gpu_properties import GpuProperties
from kswatch.kernels.fused.cuda.tile import ceil_div
from kswatch.kernels.fused.cuda.tile_candidates import assemble, choose
from kswatch.kernels.fused.host_emulator import emulator as host
from kswatch.kernels.pattern import Pattern
from kswatch.kernels.problem import Problem
from tests.kernels.changed_sources import changed_sources

H200 = GpuProperties(90, 132)

DIRECT = Problem(Pattern(2, 20, 40, 1), 37, "fp16", "batch_first")
TURNED = Problem(Pattern(1, 20, 40, 3), 37, "fp16", "batch_first")
SHORT = Problem(Pattern(2, 20, 20, 1), 37, "bf16", "batch_last")
LAST = Problem(Pattern(2, 20, 40, 1), 37, "bf16", "batch_last")
LONG = Problem(Pattern(1, 16, 16_384, 1), 64, "fp32", "batch_last")
CORES = Problem(Pattern(1, 20, 40, 1), 37, "fp32", "batch_first")
WORDS = Problem(Pattern(1, 20, 40, 2), 40, "tf32", "batch_last")
COMPLEX = Problem(Pattern(1, 20, 40, 3), 37, "complex64", "batch_first")
DOUBLE = Problem(Pattern(2, 20, 40, 1), 37, "fp64", "batch_last")
SPLIT = Problem(Pattern(1, 16, 1024, 1), 32, "fp32", "batch_last")

BYTES = Problem(Pattern(1, 20, 700, 1), 37, "fp8", "batch_last")
TURNED_BYTES = Problem(Pattern(1, 20, 40, 3), 37, "fp8", "batch_first")

WRONG = "relative error"
MISSING = "NaN"


class Mutant(NamedTuple):
    """`source` is replaced by `planted` in a file; in `problem` this gives an error with the text `seen`."""

    file: str
    source: str
    planted: str
    problem: Problem
    seen: str
    kind: str = "plain"


MUTANTS = {
    "no barrier before a step": Mutant("fused.cu", "barrier();  // this", "// this", LAST, "race"),
    "no barrier after the turn": Mutant("fused.cu", "      barrier();\n", "", TURNED, "race"),
    "no barrier before Y": Mutant("fused.cu", "barrier();  // Y takes", ";  // Y takes", SHORT, "race"),
    "no barrier before the store": Mutant("fused.cu", "barrier();  // Y is", "// Y is", LAST, "race"),
    "no barrier before the next tile": Mutant(
        "fused.cu", "barrier();  // Y is", "// Y is", TURNED, "race", "walkers"
    ),
    "a barrier for one warp": Mutant(
        "fused.cu", "y, g, done);", "y, g, done); if (thread_index() < 32) barrier();", LAST, "never come"
    ),
    "an instruction for half a warp": Mutant(
        "tensor_cores.cuh", "load_x(b, x, l", "if (lane < 16) load_x(b, x, l", LAST, "different instructions"
    ),
    "a wait for too few": Mutant("fused.cu", "STAGES - 2>()", "STAGES - 1>()", LAST, "race"),
    "no wait": Mutant("fused.cu", "wait_copies<T::STAGES - 2>();", "", TURNED, "ends with copies in flight"),
    "copies past the batch": Mutant("copy.cuh", "n < ns && run", "n >= 0 && run", TURNED, "read outside"),
    "copies past the columns": Mutant("copy.cuh", "l0 + l < g.c && ", "", LAST, "read outside"),
    "copies of the next j's": Mutant("tile.cuh", "q < rows * step()", "q >= 0", DIRECT, "read outside"),
    "stores past the batch": Mutant("store.cuh", "n >= at.ns || !run", "!run", CORES, "write outside"),
    "stores past the rows": Mutant("store.cuh", "m >= run.rows || ", "", LAST, "write outside"),
    "a row unwritten": Mutant("store.cuh", "m >= run.rows", "m + 1 >= run.rows", LAST, MISSING),
    "a batch entry unwritten": Mutant(
        "store.cuh", "n >= at.ns || !run", "n + 1 >= at.ns || !run", TURNED, MISSING
    ),
    "a stage too far": Mutant(
        "fused.cu", "stages + step % T::STAGES", "stages + (step + 40)", LAST, "outside of shared"
    ),
    "an odd address": Mutant(
        "copy.cuh", "g.batch + along + n;", "g.batch + along + n + 1;", WORDS, "misaligned"
    ),
    "halves of B exchanged": Mutant("tensor_cores.cuh", "half * 8", "(1 - half) * 8", LAST, WRONG),
    "rows of B not transposed": Mutant(
        "tensor_cores.cuh", "matrices<true>(b", "matrices<false>(b", LAST, WRONG
    ),
    "words of B exchanged": Mutant("tensor_cores.cuh", "u % 2 * 4", "u / 2 * 4", WORDS, WRONG),
    "rows of D exchanged": Mutant(
        "tensor_cores.cuh", "row + 8, column, c[2]", "row + 8, column, c[0]", WORDS, WRONG
    ),
    "a sum left out": Mutant(
        "cores.cuh", "add_product(sum[m][n]", "if (n) add_product(sum[m][n]", CORES, WRONG
    ),
    "a complex product with a wrong sign": Mutant(
        "precision.cuh", "sum.re -= w.im * x.im;", "sum.re += w.im * x.im;", COMPLEX, WRONG
    ),
    "a complex product of the conjugate": Mutant(
        "precision.cuh", "sum.im += w.im * x.re;", "sum.im -= w.im * x.re;", COMPLEX, WRONG
    ),
    "products of doubles in floats": Mutant(
        "precision.cuh", "double& sum, double w, double x", "double& sum, float w, float x", DOUBLE, WRONG
    ),
    "groups wider than 16 bytes": Mutant("tile.cuh", "UNIT < 4 ? UNIT : 4", "4", DOUBLE, "misaligned"),
    "tf32 cut, not rounded": Mutant("tensor_cores.cuh", "P::round(b0), P::round(b1)", "b0, b1", WORDS, WRONG),
    "small parts left out": Mutant(
        "tensor_cores.cuh", "P::mma(sums, small, first.big, second.big);", "", SPLIT, WRONG
    ),
    "sums not promoted": Mutant("tensor_cores.cuh", "multiply(few, w", "multiply(sum[j], w", SPLIT, WRONG),
    "sums of fp8 not promoted": Mutant(
        "tensor_cores.cuh",
        "P::mma(few, a[l]",
        "P::mma(sum[j][m][n / 8 + half], a[l]",
        replace(BYTES, pattern=Pattern(1, 16, 32_768, 1)),
        WRONG,
    ),
    "odd and even batch entries exchanged": Mutant(
        "tensor_cores.cuh", "0x6420 : 0x7531", "0x7531 : 0x6420", TURNED_BYTES, WRONG
    ),
    "halves of sixteen bytes exchanged": Mutant(
        "tensor_cores.cuh",
        "pairs[u % 2 * 2], pairs[u % 2 * 2 + 1]",
        "pairs[u % 2 * 2 + 1], pairs[u % 2 * 2]",
        BYTES,
        WRONG,
    ),
    "neighbours of four exchanged": Mutant(
        "tensor_cores.cuh", "{c[0], odd[0], c[1], odd[1]}", "{c[0], c[1], odd[0], odd[1]}", BYTES, WRONG
    ),
    "sums not scaled": Mutant("fused.cu", "apply_scales<T>(sums, g, at);", "", BYTES, WRONG),
    "parts not scaled": Mutant("sum_parts.cuh", "sum *= load", "load", BYTES, WRONG, "parts"),
    "scales past the rows": Mutant(
        "store.cuh", "j >= at.js || m >= g.b - at.k0", "j >= at.js", BYTES, "read outside"
    ),
    "two bytes copied as one": Mutant(
        "copy.cuh", "BYTES / sizeof(E)>", "1>", replace(BYTES, batch=38), MISSING
    ),
    "the bias of the next row": Mutant(
        "store.cuh",
        "bias + static_cast<long long>(m) *",
        "bias + static_cast<long long>(m ^ 1) *",
        LAST,
        WRONG,
    ),
    "biases past the rows": Mutant("store.cuh", "m >= g.b - at.k0 || ", "", LAST, "read outside"),
    "a part left out": Mutant("sum_parts.cuh", "part < g.parts", "part + 1 < g.parts", LAST, WRONG, "parts"),
    "a part from the start": Mutant("fused.cu", "first = at.part * each", "first = 0", LAST, WRONG, "parts"),
    "elements past the last": Mutant(
        "sum_parts.cuh", "if (at >= elements) return;", "", LAST, "read outside", "parts"
    ),
    "the first batch tile again": Mutant("fused.cu", "at.n0 - begin", "0", TURNED, WRONG, "walkers"),
    "copies of a walker without a batch tile": Mutant(
        "fused.cu", "if (at.n0 >= g.batch) return;", "", TURNED, "ends with copies in flight", "idle walkers"
    ),
    "sums in a single block": Mutant("fused.cu", "% T::BLOCK_STEPS == 0", "< 0", LONG, WRONG, "blocked"),
    "a block of sums left out": Mutant("fused.cu", "sums.add_blocks();", "", LONG, WRONG, "blocked"),
    "a batch tile left out": Mutant(
        "fused.cu", "(g.walkers) * T::BN", "(g.walkers + 1) * T::BN", TURNED, MISSING, "walkers"
    ),
}


def tile_of(problem, kind="plain"):
    """The tile of a problem, as a given variant."""
    if kind == "blocked":
        return assemble(problem, "cores", 16, 64, 1, False)
    tile = replace(choose(problem, H200), parts=1, walkers=0)
    if kind == "parts":
        return replace(tile, parts=2)
    steps = ceil_div(problem.pattern.c, tile.depth)
    walkers = {"walkers": 1, "idle walkers": 1 + ceil_div(problem.batch, tile.batch)}.get(kind, 0)
    return replace(tile, walkers=walkers, weight_steps=steps) if walkers else tile


UNPLANTED = [
    pytest.param(problem, marks=pytest.mark.slow)
    for problem in (DIRECT, CORES, WORDS, SPLIT, DOUBLE, COMPLEX)
]


@pytest.mark.parametrize("problem", [TURNED, LAST, *UNPLANTED], ids=str)
def test_the_source_itself_passes(run_on_host, problem):
    assert run_on_host(problem, tile_of(problem), with_bias=True).ok


FAST = {
    "no barrier before a step",
    "no wait",
    "copies past the batch",
    "halves of B exchanged",
    "a row unwritten",
    "a complex product with a wrong sign",
}
"""One of every kind of defect; the others take some minutes more."""


@pytest.fixture(scope="session")
def mutants_cache(tmp_path_factory):
    """One cache for all, since they share the compiled header; not the user's, which wants none of them."""
    return tmp_path_factory.mktemp("mutants")


def by_speed(name: str) -> object:
    return name if name in FAST else pytest.param(name, marks=pytest.mark.slow)


@pytest.mark.parametrize("name", [by_speed(name) for name in MUTANTS])
def test_a_planted_defect_is_found(run_on_host, monkeypatch, tmp_path, mutants_cache, name):
    mutant = MUTANTS[name]
    folder = changed_sources(tmp_path / "source", mutant.file, mutant.source, mutant.planted)
    monkeypatch.setenv("KSWATCH_CACHE", str(mutants_cache))
    tile = tile_of(mutant.problem, mutant.kind)
    assert mutant.seen in symptom(lambda: run_on_host(mutant.problem, tile, folder=folder, with_bias=True))


def symptom(run) -> str:
    """The message of the emulation or of the comparison with float64."""
    try:
        answer = run()
    except host.Defect as defect:
        return str(defect)
    return answer.reason or "nothing"
