"""The table of tuned tiles: written, read, used, and never trusted further than its names."""

import pytest

from kswatch.errors import UsageError
from kswatch.kernels.fused.artifacts import tuned_tiles as tuned
from kswatch.kernels.fused.cpu_twin import tiles as twin_tiles
from kswatch.kernels.fused.cpu_twin.tiles import TwinLimits
from kswatch.kernels.fused.cuda import tile_candidates as tiles
from kswatch.kernels.fused.cuda.gpu_properties import GpuProperties
from kswatch.kernels.pattern import Pattern
from kswatch.kernels.problem import LAYOUTS, Problem

LIMITS = TwinLimits(vector_width=16, rows=8, vectors=3, period=8)
PROBLEM = Problem(Pattern(1, 64, 64, 16), 1024, "fp32", "batch_first")


@pytest.fixture
def table(tmp_path, monkeypatch):
    monkeypatch.setenv("KSWATCH_TILES", str(tmp_path))
    return tuned.table_path(tuned.cpu_architecture(LIMITS.vector_width))


def test_a_tuned_tile_is_used_only_for_its_problem(table):
    *_, tile = twin_tiles.candidates(PROBLEM, LIMITS)
    tuned.write(table, "this CPU", {PROBLEM: str(tile)})
    assert twin_tiles.choose(PROBLEM, LIMITS) == tile != twin_tiles.default_tile(PROBLEM, LIMITS)
    other = Problem(PROBLEM.pattern, 1025, "fp32", "batch_first")
    assert twin_tiles.choose(other, LIMITS) == twin_tiles.default_tile(other, LIMITS)


def test_a_table_grows_and_its_lines_are_replaced(table):
    other = Problem(Pattern(2, 8, 8, 1), 64, "bf16", "batch_last")
    assert tuned.write(table, "this CPU", {PROBLEM: "one"}) == 1
    assert tuned.write(table, "this CPU", {other: "two"}) == 2
    assert tuned.write(table, "this CPU", {PROBLEM: "three"}) == 2
    assert tuned.read_table(table) == {str(PROBLEM): "three", str(other): "two"}


def test_an_unknown_tile_is_ignored(table):
    tuned.write(table, "this CPU", {PROBLEM: "64 rows x 9 vectors"})
    assert twin_tiles.choose(PROBLEM, LIMITS) == twin_tiles.default_tile(PROBLEM, LIMITS)


@pytest.mark.parametrize("text", ["tiles = [", "[other]\n", '[tiles]\n"a" = 3\n', "tiles = 4\n"])
def test_an_invalid_table_is_named(table, text):
    table.write_text(text)
    with pytest.raises(UsageError, match="lanes.toml"):
        twin_tiles.choose(PROBLEM, LIMITS)


def test_the_default_tile_is_the_first_and_largest():
    first = next(twin_tiles.candidates(PROBLEM, LIMITS))
    assert (first.rows, first.vectors, first.period) == (8, 3, 8)


def test_the_estimate_penalises_small_tiles_for_their_loads():
    large, small = twin_tiles.TwinTile(8, 3, 0, 1), twin_tiles.TwinTile(2, 1, 0, 1)
    problem = Problem(Pattern(1, 96, 96, 1), 960, "fp32", "batch_last")
    assert twin_tiles.cycles(problem, large, LIMITS) < twin_tiles.cycles(problem, small, LIMITS) / 1.5


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
@pytest.mark.parametrize("pattern", [(2, 48, 192, 1), (1, 768, 192, 2), (4, 64, 64, 16)], ids=str)
def test_tile_names_are_unique(pattern, precision, layout):
    problem = Problem(Pattern(*pattern), 25_088, precision, layout)
    names = [str(tile) for tile in tiles.candidates(problem, GpuProperties(90, 132))]
    assert len(set(names)) == len(names) > 1
    assert all(len(name) <= 120 for name in names), "the store's column"
