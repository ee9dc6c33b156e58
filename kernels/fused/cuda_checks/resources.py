"""What the compiler gave the fused kernel, per architecture: exact figures that need no GPU.

`listing` compiles, disassembles and counts; all of it is cached beside the cubins. `faults` holds
the rows against `budget.toml`. Nothing here imports torch.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import tempfile
from collections import Counter
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from kswatch.errors import UnsupportedError
from kswatch.kernels.fused.artifacts.cache import cache_folder
from kswatch.kernels.fused.cuda.compile import Cubin, cubin
from kswatch.kernels.fused.cuda.machine import Machine
from kswatch.kernels.fused.cuda.nvcc import TIMEOUT_S, find_tool
from kswatch.kernels.fused.cuda.tile import Tile
from kswatch.kernels.fused.cuda.tile_candidates import choose, of_warpgroups
from kswatch.kernels.pattern import Pattern
from kswatch.kernels.problem import LAYOUTS, PRECISIONS, Precision, Problem

ARCHITECTURES = (75, 80, 90)
"""Turing for the CUDA cores alone, Ampere for mma.sync, Hopper for the newest."""
KINDS: tuple[tuple[Pattern, int, tuple[Precision, ...]], ...] = (
    (Pattern(1, 128, 128, 3), 25_088, PRECISIONS),
    (Pattern(6, 64, 64, 16), 25_088, ("fp32", "fp16")),  # fp32 on the CUDA cores, eight j's together
    (Pattern(1, 512, 512, 1), 25_088, ("fp16", "tf32")),
    (Pattern(1, 256, 1024, 1), 16, ("fp16",)),  # in parts
)
PROBLEMS = tuple(
    Problem(pattern, batch, precision, layout)
    for pattern, batch, precisions in KINDS
    for precision in precisions
    for layout in LAYOUTS
)
"""One for every way of computing: what one of its tiles spills or loses, the others do too."""

INSTRUCTION = re.compile(r"^\s*/\*[0-9a-f]{4,}\*/\s+(?:@!?U?P\w+\s+)?([A-Z][A-Z0-9_]*)", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class ResourceRow:
    """One kernel on one architecture: a row of the table `resource`."""

    code_hash: str
    """sha256 of the cubin, as in `measurement`."""
    kernel: str
    """Precision, layout and tile: the same from revision to revision."""
    architecture: str
    """As `sm_90`."""
    family: str
    compiler: str
    registers: int
    """Per thread."""
    spill_bytes: int
    """Per thread, stored and loaded."""
    shared_bytes: int
    """Per block, asked for at the launch."""
    instructions: dict[str, int]
    """How many of each mnemonic, its modifiers left out."""


def listing(
    architectures: Sequence[int] = ARCHITECTURES,
    problems: Iterable[Problem] = PROBLEMS,
) -> list[ResourceRow]:
    """A row for every distinct tile that these problems get, per architecture, in a fixed order.

    Args:
        architectures: Compute capabilities, as 90 for sm_90.
        problems: Whose tiles are compiled; those that an architecture cannot compute are left out.

    Raises:
        UnsupportedError: a kernel is in no cache and cannot be compiled or disassembled here.
    """
    wanted = [
        (tile, architecture)
        for architecture in architectures
        for tile in tiles_of(problems, Machine(architecture))
    ]
    with ThreadPoolExecutor(os.cpu_count()) as pool:  # nvcc and nvdisasm are processes of their own
        return list(pool.map(lambda pair: row(*pair), wanted))


def tiles_of(problems: Iterable[Problem], machine: Machine) -> list[Tile]:
    """The distinct tiles of those problems that the machine can compute."""
    served = [problem for problem in problems if machine.computes(problem)]
    tiles = {choose(problem, machine) for problem in served}
    tiles |= {tile for problem in served for tile in of_warpgroups(problem, machine)}
    return sorted(tiles, key=repr)


def row(tile: Tile, architecture: int) -> ResourceRow:
    """The figures of one tile, compiled and disassembled where no cache has them."""
    compiled = cubin(tile, architecture)
    return ResourceRow(
        code_hash=compiled.sha256,
        kernel=tile.name,
        architecture=f"sm_{architecture}",
        family=tile.family,
        compiler=compiled.compiler,
        registers=compiled.resources.registers,
        spill_bytes=compiled.resources.spill_bytes,
        shared_bytes=compiled.resources.shared_bytes,
        instructions=instructions(compiled),
    )


def instructions(compiled: Cubin) -> dict[str, int]:
    """How many of each mnemonic the machine code has, most frequent first.

    Raises:
        UnsupportedError: it was never disassembled before, and no nvdisasm is here.
    """
    path = cache_folder() / f"sass-{compiled.sha256}.json"
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError):
        counted = count(disassemble(compiled.code))
    with tempfile.NamedTemporaryFile("w", dir=path.parent, prefix="sass-writing-", delete=False) as file:
        json.dump(counted, file)
    Path(file.name).replace(path)
    return counted


def count(sass: str) -> dict[str, int]:
    """How many of each mnemonic."""
    return dict(Counter(INSTRUCTION.findall(sass)).most_common())


def disassemble(code: bytes) -> str:
    """The SASS of a cubin.

    Raises:
        UnsupportedError: no nvdisasm, or it does not know this code.
    """
    nvdisasm = find_tool("nvdisasm")
    if nvdisasm is None:
        raise UnsupportedError(
            "no nvdisasm to count a kernel's instructions; `pip install 'kswatch[static]'`, "
            "or name a CUDA toolkit in CUDA_HOME"
        )
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(code)
        file.flush()
        command = [nvdisasm, "--print-code", "--no-dataflow", file.name]
        done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S)
    if done.returncode:
        said = (done.stderr or done.stdout).strip()
        raise UnsupportedError(f"{nvdisasm} does not read the cubin: {said[:200]}; use a newer one")
    return done.stdout
