"""The compiled code follows the rules of wgmma: its sums are not accessed between a fence and the wait.

PTX ISA, "wgmma.fence" and "wgmma.wait_group": a register of D may neither be written between a fence and
the first product, nor accessed at all between a product and the wait that covers it. The compiler does not
enforce these rules, since neither instruction names a register.
"""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from kswatch.kernels.fused.cuda import nvcc
from kswatch.kernels.fused.cuda.gpu_properties import GpuProperties
from kswatch.kernels.fused.cuda.tile_candidates import hopper_tiles
from kswatch.kernels.pattern import Pattern
from kswatch.kernels.problem import Problem

TILES = [
    tile
    for precision, layout in (("fp16", "batch_last"), ("tf32", "batch_first"))
    for tile in hopper_tiles(
        Problem(Pattern(1, 1024, 1024, 1), 25_088, precision, layout), GpuProperties(90, 132)
    )
]
PRODUCT = re.compile(r"wgmma\.mma_async\S+ \{([^}]*)\}")
REGISTER = re.compile(r"%f\d+\b")
NOTHING = re.compile(r"\s*(//.*|\.loc .*)?$")


def ptx(tile, folder: Path, include: Path = nvcc.SOURCE_FOLDER) -> list[str]:
    (folder / "kernel.cu").write_text(tile.source)
    command = [nvcc.find_nvcc(), "--ptx", "-O3", "-std=c++17", "-arch", "sm_90a", f"-I{include}", "kernel.cu"]
    subprocess.run([*command, "-o", "kernel.ptx"], cwd=folder, check=True, capture_output=True)
    lines = (folder / "kernel.ptx").read_text().splitlines()
    return [line for line in lines if not NOTHING.match(line)]


def touched(lines: list[str]) -> list[str]:
    """Lines that access the sums where this is forbidden."""
    products = [number for number, line in enumerate(lines) if PRODUCT.search(line)]
    sums = {register for number in products for register in REGISTER.findall(lines[number])}
    fence = next(number for number, line in enumerate(lines) if "wgmma.fence" in line)
    waits = [number for number, line in enumerate(lines) if re.search(r"wgmma\.wait_group\S* 0", line)]
    assert len(waits) == 1 and fence < products[0] <= products[-1] < waits[0]
    between = [number for number in range(fence, waits[0]) if number not in products]
    return [lines[number] for number in between if sums & set(REGISTER.findall(lines[number]))]


@pytest.mark.skipif(nvcc.find_nvcc() is None, reason="no nvcc: pip install 'kswatch[static]'")
@pytest.mark.parametrize(
    "tile", [TILES[1], *(pytest.param(t, marks=pytest.mark.slow) for t in TILES)], ids=str
)
def test_the_sums_are_untouched_from_the_first_fence_to_the_last_wait(tile, tmp_path):
    assert touched(ptx(tile, tmp_path)) == []


def test_an_early_read_of_a_sum_is_detected():
    lines = ["wgmma.fence.sync.aligned;", "wgmma.mma_async.x {%f1, %f2}, %rd1;", "{early}"]
    lines += ["wgmma.wait_group.sync.aligned 0;", "add.f32 %f3, %f1, %f9;"]
    assert touched(lines) == []
    early = "add.f32 %f3, %f1, %f9;"
    assert touched([line.replace("{early}", early) for line in lines]) == [early]
