"""Registers, spills and instructions of the compiled kernels, per architecture: exact, without a GPU.

`listing` compiles, disassembles and counts; everything is cached beside the cubins. `budget.faults`
compares the rows with `budget.toml`. Nothing here imports torch.
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

from kswatch.declared.precisions import SUITE_PRECISIONS
from kswatch.errors import UnsupportedError
from kswatch.kernels.fused.artifacts.cache import cache_folder, replace_file
from kswatch.kernels.fused.cuda.compile import Cubin, cubin
from kswatch.kernels.fused.cuda.gpu_properties import GpuProperties
from kswatch.kernels.fused.cuda.nvcc import TIMEOUT_S, find_tool
from kswatch.kernels.fused.cuda.tile import Tile
from kswatch.kernels.fused.cuda.tile_candidates import choose, hopper_tiles
from kswatch.kernels.fused.cuda_chain.candidates import choose as choose_chain
from kswatch.kernels.fused.cuda_chain.tile import ChainTile, Problems
from kswatch.kernels.pattern import Pattern
from kswatch.kernels.problem import LAYOUTS, PRECISIONS, Precision, Problem

ARCHITECTURES = (75, 80, 90)
"""Turing uses only CUDA cores, Ampere mma.sync, Hopper also wgmma."""
KINDS: tuple[tuple[Pattern, int, tuple[Precision, ...]], ...] = (
    (Pattern(1, 128, 128, 3), 25_088, PRECISIONS),  # fp64 and complex64 on the CUDA cores
    (Pattern(6, 64, 64, 16), 25_088, ("fp32", "fp16")),  # fp32 on the CUDA cores, eight j's together
    (Pattern(1, 512, 512, 1), 25_088, ("fp16", "tf32")),
    (Pattern(1, 256, 1024, 1), 16, SUITE_PRECISIONS),  # in parts
    (Pattern(1, 512, 4096, 1), 25_088, ("fp32",)),  # on the CUDA cores of sm_75 sums in blocks
)
PROBLEMS = tuple(
    Problem(pattern, batch, precision, layout)
    for pattern, batch, precisions in KINDS
    for precision in precisions
    for layout in LAYOUTS
)
"""One for each variant of the kernel; `all_tiles.py` finds spills in every other tile that can be chosen."""
CHAINS: tuple[Problems, ...] = tuple(
    (
        Problem(Pattern(6, 64, 128, 1), batch, precision, layout),
        Problem(Pattern(1, 768, 192, 2), batch, precision, layout),
    )
    for batch in (16, 25_088)  # the first in shares
    for precision in SUITE_PRECISIONS
    for layout in LAYOUTS
) + tuple(
    (
        Problem(Pattern(64, 64, 128, 1), 16, precision, layout),
        Problem(Pattern(1, 64, 256, 16), 16, precision, layout),
    )
    for precision in SUITE_PRECISIONS  # in clusters where the GPU has them
    for layout in LAYOUTS
)
"""Chains with columns enough for 3xTF32 in both factors; `all_chains.py` finds spills in every other tile."""

INSTRUCTION = re.compile(r"^\s*/\*[0-9a-f]{4,}\*/\s+(?:@!?U?P\w+\s+)?([A-Z][A-Z0-9_]*)", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class KernelResources:
    """One kernel on one architecture: a row of the table `resource`."""

    code_hash: str
    """sha256 of the cubin, as in `measurement`."""
    kernel: str
    """Precision, layout and tile: the same from revision to revision."""
    architecture: str
    """Such as `sm_90`."""
    family: str
    compiler: str
    registers: int
    """Per thread."""
    spill_bytes: int
    """Per thread, stored and loaded."""
    shared_bytes: int
    """Per block, requested at the launch."""
    instructions: dict[str, int]
    """Count of each mnemonic, without its modifiers."""


def listing(
    architectures: Sequence[int] = ARCHITECTURES,
    problems: Iterable[Problem] = PROBLEMS,
    chains: Iterable[Problems] = CHAINS,
) -> list[KernelResources]:
    """A row for every distinct tile or pair that is chosen for these, per architecture, in a fixed order.

    Problems that an architecture (90 for sm_90) cannot compute are left out.

    Raises:
        UnsupportedError: a kernel is not in the cache and cannot be compiled or disassembled here.
    """
    problems, chains = list(problems), list(chains)
    pairs: list[tuple[Tile | ChainTile, int]] = []
    for architecture in architectures:
        gpu = GpuProperties(architecture)
        every: list[Tile | ChainTile] = [*tiles_of(problems, gpu), *chain_tiles_of(chains, gpu)]
        pairs += [(tile, architecture) for tile in every]
    with ThreadPoolExecutor(os.cpu_count()) as pool:  # nvcc and nvdisasm are processes of their own
        return list(pool.map(lambda pair: row(*pair), pairs))


def tiles_of(problems: Iterable[Problem], gpu: GpuProperties) -> list[Tile]:
    """The distinct tiles of those problems that the GPU supports."""
    supported = [problem for problem in problems if gpu.supports(problem)]
    tiles = {choose(problem, gpu) for problem in supported}
    tiles |= {tile for problem in supported for tile in hopper_tiles(problem, gpu)}
    return sorted(tiles, key=repr)


def chain_tiles_of(chains: Iterable[Problems], gpu: GpuProperties) -> list[ChainTile]:
    """The distinct pairs of those chains that the GPU supports and has room for."""
    found = {choose_chain(problems, gpu) for problems in chains if all(map(gpu.supports, problems))}
    return sorted((tile for tile in found if tile is not None), key=repr)


def row(tile: Tile | ChainTile, architecture: int) -> KernelResources:
    """The figures of one tile, which is compiled and disassembled unless they are cached."""
    compiled = cubin(tile, architecture)
    return KernelResources(
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
    """The count of each mnemonic in the machine code, most frequent first.

    Raises:
        UnsupportedError: it is not in the cache, and nvdisasm is not installed.
    """
    path = cache_folder() / f"sass-{compiled.sha256}.json"
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError):
        counted = count(disassemble(compiled.code))
    replace_file(path, json.dumps(counted).encode())
    return counted


def count(sass: str) -> dict[str, int]:
    """The count of each mnemonic in a disassembly."""
    return dict(Counter(INSTRUCTION.findall(sass)).most_common())


def disassemble(code: bytes) -> str:
    """The SASS of a cubin.

    Raises:
        UnsupportedError: nvdisasm is not installed, or does not know this code.
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
        output = (done.stderr or done.stdout).strip()
        raise UnsupportedError(f"{nvdisasm} does not read the cubin: {output[:200]}; use a newer one")
    return done.stdout
