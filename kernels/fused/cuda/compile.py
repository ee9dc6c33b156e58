"""Machine code of a tile: compiled once, kept in a cache folder that may travel.

A cache that was filled elsewhere serves a machine without nvcc.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path

from kswatch.errors import UnsupportedError
from kswatch.kernels.fused.artifacts.cache import cache_folder
from kswatch.kernels.fused.artifacts.sources import source_files
from kswatch.kernels.fused.cuda.nvcc import (
    FLAGS,
    SOURCE_FOLDER,
    Resources,
    compile_tile,
    find_nvcc,
    nvcc_version,
)
from kswatch.kernels.fused.cuda.tile import Tile

CUBINS = "KSWATCH_CUBINS"
"""`any`: a kernel that another nvcc compiled serves too, so that a cache can be filled ahead for a machine
whose own nvcc would take its time."""


@dataclass(frozen=True, slots=True)
class Cubin:
    """A compiled tile for one architecture."""

    code: bytes
    sha256: str
    compiler: str
    """nvcc's line on its build."""
    resources: Resources


@lru_cache(maxsize=512)
def cubin(tile: Tile, architecture: int) -> Cubin:
    """The tile's machine code, from the cache or from nvcc.

    Args:
        tile: Which instance of the kernel.
        architecture: Compute capability, as 90 for sm_90.

    Raises:
        UnsupportedError: it is in no cache and cannot be compiled here.
    """
    key = source_key(tile, architecture)
    nvcc = find_nvcc()
    carried = newest(key) if nvcc is None or os.environ.get(CUBINS) == "any" else None
    stored = carried or (read(entry(key, nvcc)) if nvcc else None)
    if stored is not None:
        return stored
    if nvcc is None:
        raise UnsupportedError(
            f"no nvcc to compile the fused kernel for sm_{architecture}, and none compiled before in "
            f"{cache_folder()}; `pip install 'kswatch[static]'`, name a CUDA toolkit in CUDA_HOME, or set "
            "KSWATCH_CACHE to a cache that was filled elsewhere"
        )
    return compile_into(entry(key, nvcc), tile, architecture, nvcc)


def source_key(tile: Tile, architecture: int) -> str:
    """sha256 over what decides the machine code but for the compiler's version."""
    parts = [tile.source.encode(), repr((FLAGS, architecture)).encode()]
    wide = tile.family == "warpgroups"
    paths = (
        path
        for path in source_files(SOURCE_FOLDER, "*.cu", "*.cuh")
        if wide or not path.name.startswith("hopper")
    )
    parts += [path.read_bytes() for path in paths]
    return hashlib.sha256(b"\0".join(parts)).hexdigest()


def entry(key: str, nvcc: str) -> Path:
    """Where the cubin of a source by a compiler is kept; its sidecar is beside it."""
    version = hashlib.sha256(nvcc_version(nvcc).encode()).hexdigest()[:16]
    return cache_folder() / f"cubin-{key}-{version}.cubin"


def newest(key: str) -> Cubin | None:
    """The last cubin of a source that any compiler made; for machines that have none."""
    paths = sorted(cache_folder().glob(f"cubin-{key}-*.cubin"), key=lambda path: path.stat().st_mtime)
    return read(paths[-1]) if paths else None


def read(path: Path) -> Cubin | None:
    """A whole entry; None for one that is missing or damaged."""
    try:
        code = path.read_bytes()
        facts = json.loads(path.with_suffix(".json").read_text())
        compiler, resources = facts["nvcc"], Resources(**facts["resources"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    sha256 = hashlib.sha256(code).hexdigest()
    return Cubin(code, sha256, compiler, resources) if sha256 == facts["sha256"] else None


def write(path: Path, compiled: Cubin, tile: Tile, architecture: int) -> None:
    """Sidecar first, cubin last, each by a rename, so that others see an entry whole or not at all."""
    facts = {
        "tile": str(tile),
        "precision": tile.precision,
        "layout": tile.layout,
        "architecture": f"sm_{architecture}",
        "nvcc": compiled.compiler,
        "sha256": compiled.sha256,
        "resources": asdict(compiled.resources),
    }
    for target, content in (
        (path.with_suffix(".json"), json.dumps(facts, indent=1).encode()),
        (path, compiled.code),
    ):
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix="cubin-writing-", delete=False) as file:
            file.write(content)
        Path(file.name).replace(target)


def compile_into(path: Path, tile: Tile, architecture: int, nvcc: str) -> Cubin:
    """Compile a tile and keep it.

    Raises:
        UnsupportedError: nvcc fails, or the cache folder cannot be written.
    """
    code, resources = compile_tile(tile, architecture, nvcc)
    compiled = Cubin(code, hashlib.sha256(code).hexdigest(), nvcc_version(nvcc), resources)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write(path, compiled, tile, architecture)
    except OSError as error:
        raise UnsupportedError(
            f"cannot write the compiled kernel to {path.parent} ({error.strerror}); "
            "set KSWATCH_CACHE to a folder that can be written"
        ) from error
    return compiled
