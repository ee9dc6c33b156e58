"""PTX as nvcc makes it of the CUDA sources; kept in the cache folder."""

from __future__ import annotations

import hashlib
import subprocess
import tempfile
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path

from kswatch.kernels.fused.artifacts.cache import cache_folder, replace_file
from kswatch.kernels.fused.artifacts.sources import source_files
from kswatch.kernels.fused.cuda.nvcc import FLAGS, SOURCE_FOLDER, find_nvcc, nvcc_version
from kswatch.kernels.fused.cuda.tile import Tile
from tests.kernels.ptx.interpreter import Program, exclusive

NO_NVCC = "no nvcc to compile PTX; `pip install 'kswatch[static]'`, or name a CUDA toolkit in CUDA_HOME"
JOBS = 2


class CompilationError(Exception):
    """nvcc does not compile the source."""


def target_of(tile: Tile, architecture: int) -> str:
    """The architecture that nvcc compiles a tile for; wgmma needs the variant `a`."""
    variant = "" if tile.family in ("cores", "tensor_cores") else "a"
    return f"sm_{architecture}{variant}"


def program(tile: Tile, architecture: int = 90, folder: Path = SOURCE_FOLDER) -> Program:
    """A tile's kernels, ready to launch."""
    return parsed(ptx_of(tile.source, target_of(tile, architecture), folder))


@cache
def parsed(text: str) -> Program:
    """The program of a text, parsed once."""
    return Program(text)


def ptx_of(source: str, target: str, folder: Path = SOURCE_FOLDER) -> str:
    """The PTX of a translation unit.

    Raises:
        CompilationError: nvcc fails.
    """
    nvcc = find_nvcc()
    assert nvcc is not None, NO_NVCC
    parts = [source.encode(), repr((FLAGS, target, nvcc_version(nvcc))).encode()]
    parts += [path.read_bytes() for path in source_files(folder, "*.cu", "*.cuh")]
    key = hashlib.sha256(b"\0".join(parts)).hexdigest()
    path = cache_folder() / f"ptx-{key}.ptx"
    if path.exists():
        return path.read_text()
    with exclusive(path):
        if not path.exists():
            replace_file(path, _compile(nvcc, source, target, folder).encode())
    return path.read_text()


def compile_together(tiles: Iterable[tuple[Tile, int]]) -> None:
    """Fill the cache for tiles and their architectures, with a few compilers at the same time."""
    units = {(tile.source, target_of(tile, architecture)) for tile, architecture in tiles}
    with ThreadPoolExecutor(JOBS) as pool:
        list(pool.map(lambda unit: ptx_of(*unit), sorted(units)))


def _compile(nvcc: str, source: str, target: str, folder: Path) -> str:
    with tempfile.TemporaryDirectory(prefix="kswatch-ptx-") as scratch:
        (Path(scratch) / "kernel.cu").write_text(source)
        command = [nvcc, "--ptx", *FLAGS, "-arch", target, f"-I{folder}", "kernel.cu"]
        done = subprocess.run(command, cwd=scratch, capture_output=True, text=True)
        if done.returncode:
            raise CompilationError(done.stderr or done.stdout)
        return (Path(scratch) / "kernel.ptx").read_text()
