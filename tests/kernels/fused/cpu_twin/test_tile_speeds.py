"""The tile is chosen by a measurement where the compiler made slow code of the largest one."""

import json
import math
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from kswatch.kernels.fused.cpu_twin import twin
from kswatch.kernels.fused.cpu_twin.tile_speeds import slow_tiles
from kswatch.kernels.fused.cpu_twin.tiles import TwinLimits, default_tile
from kswatch.kernels.pattern import Pattern
from kswatch.kernels.problem import LAYOUTS, Layout, Problem

LIMITS = TwinLimits(vector_width=16, rows=8, vectors=4, period=8)


def library(slow: tuple[int, int] | None = None) -> SimpleNamespace:
    """A library whose larger tiles are a little faster, except for one that spills in fp32."""

    def speed(precision: int, rows: int, vectors: int, period: int) -> float:
        spilled = precision == 0 and (rows, vectors) == slow
        return 1 if spilled else 10 + 0.01 * rows * vectors

    return SimpleNamespace(kswatch_twin_speed=speed)


def never(*sizes: int) -> float:
    raise AssertionError("the kept speeds are not measured again")


def problem(layout: Layout) -> Problem:
    return Problem(Pattern(2, 48, 48, 3), 5, "fp32", layout)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_tile_that_spills_is_replaced_by_the_fastest_other_one(layout: Layout, tmp_path: Path):
    largest = LIMITS.largest("fp32", layout)
    found = slow_tiles(library(slow=largest), tmp_path / "twin.so", LIMITS)
    limits = TwinLimits(16, 8, 4, 8, replacements=found)

    tile = default_tile(problem(layout), limits)

    assert (tile.rows, tile.vectors) == ((8, 3) if layout == "batch_first" else (8, 4))
    assert limits.sizes("bf16", layout) == largest


def test_a_tile_that_was_disturbed_once_is_not_replaced(tmp_path: Path):
    largest, disturbed = LIMITS.largest("fp32", "batch_last"), []

    def speed(precision: int, rows: int, vectors: int, period: int) -> float:
        if (precision, rows, vectors) == (0, *largest) and not disturbed:
            disturbed.append(True)
            return 5
        return 10 + 0.01 * rows * vectors

    functions = SimpleNamespace(kswatch_twin_speed=speed)
    assert slow_tiles(functions, tmp_path / "twin.so", LIMITS) == ()
    assert disturbed


def test_no_tile_is_faster_than_registers_alone(one_thread):
    loaded = twin.require_twin()
    largest = loaded.limits.largest("fp32", "batch_first")
    products_per_ns, fastest_s = 0.0, math.inf
    for _ in range(10):  # in turn: the clock of a busy machine moves
        products_per_ns = max(products_per_ns, loaded.functions.kswatch_twin_speed(0, *largest, 1))
        begin_s = time.thread_time()
        operations = twin.multiply_in_registers(1 << 20)
        fastest_s = min(fastest_s, time.thread_time() - begin_s)
    assert 2 * loaded.limits.vector_width * products_per_ns < 1.05e-9 * operations / fastest_s


def test_a_few_percent_replace_no_tile(tmp_path: Path):
    almost_equal = SimpleNamespace(kswatch_twin_speed=lambda _, rows, vectors, period: 9.2 + 0.1 * (rows < 8))

    assert slow_tiles(almost_equal, tmp_path / "twin.so", LIMITS) == ()


def test_the_speeds_are_measured_once_and_kept_beside_the_library(tmp_path: Path):
    first = slow_tiles(library(slow=(8, 3)), tmp_path / "twin.so", LIMITS)

    assert first
    assert slow_tiles(SimpleNamespace(kswatch_twin_speed=never), tmp_path / "twin.so", LIMITS) == first
    assert [path.name for path in tmp_path.iterdir()] == ["twin.tiles.json"]


@pytest.mark.parametrize("content", ["", "[[1]]", json.dumps({"fp32": 3}), "{"])
def test_a_broken_record_is_measured_again(content: str, tmp_path: Path):
    (tmp_path / "twin.tiles.json").write_text(content)

    assert slow_tiles(library(slow=(8, 3)), tmp_path / "twin.so", LIMITS)


def test_a_folder_that_cannot_be_written_is_no_error(tmp_path: Path):
    (tmp_path / "file").touch()

    assert slow_tiles(library(slow=(8, 3)), tmp_path / "file" / "twin.so", LIMITS)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_tile_does_not_depend_on_the_batch(layout: Layout):
    batches = (1, 7, 48, 196, 4096)
    tiles = {
        default_tile(Problem(Pattern(1, 100, 60, 5), batch, "bf16", layout), LIMITS) for batch in batches
    }

    assert len(tiles) == 1
