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
from kswatch.kernels.fused.cuda.compile import cubin
from kswatch.kernels.fused.cuda.gpu_properties import GpuProperties
from kswatch.kernels.fused.cuda.tile_candidates import hopper_tiles
from kswatch.kernels.fused.cuda_checks.resources import disassemble
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


BRANCH = re.compile(r"BRA\S* .*`\((\.L\w+)\)")


def innermost_loop(sass: str, mnemonic: str) -> list[str]:
    """The instructions of the shortest loop that holds this one, of a disassembly."""
    instructions: list[str] = []
    labels: dict[str, int] = {}
    loops = []
    for line in sass.splitlines():
        if label := re.match(r"\s*(\.L\w+):", line):
            labels[label[1]] = len(instructions)
        elif instruction := re.search(r"/\*[0-9a-f]{4,}\*/\s+(.*?);", line):
            instructions.append(instruction[1])
            branch = BRANCH.search(instruction[1])
            if branch and branch[1] in labels:
                loops.append(instructions[labels[branch[1]] :])
    return min((loop for loop in loops if any(mnemonic in each for each in loop)), key=len)


@pytest.mark.slow
@pytest.mark.skipif(
    nvcc.find_nvcc() is None or nvcc.find_tool("nvdisasm") is None,
    reason="no nvcc and nvdisasm: pip install 'kswatch[static]'",
)
@pytest.mark.parametrize(
    ("family", "unrolled", "counts", "at_most"),
    [("warpgroups", 2, [4, 1, 2], 120), ("persistent", 1, [8, 0, 2], 130)],
)
def test_a_step_of_a_warp_has_the_instructions_of_the_log(family, unrolled, counts, at_most):
    """KERNEL_LOG.md: products, barriers of the block, accesses to mbarriers, all instructions of a step."""
    problem = Problem(Pattern(1, 1024, 1024, 1), 25_088, "fp16", "batch_first")
    tile = [tile for tile in hopper_tiles(problem, GpuProperties(90, 132)) if tile.family == family][-1]
    loop = innermost_loop(disassemble(cubin(tile, 90).code), "HGMMA")
    found = [sum(mnemonic in each for each in loop) for mnemonic in ("HGMMA", "BAR.SYNC", "SYNCS")]
    assert found == [unrolled * count for count in counts]
    assert len(loop) <= unrolled * at_most
    assert not any(local in each for each in loop for local in ("LDL", "STL"))
