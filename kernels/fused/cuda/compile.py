"""Machine code of a tile: compiled once and kept in a cache folder.

A cache folder that was filled on another machine also serves a machine without nvcc.
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path

from kswatch.errors import UnsupportedError
from kswatch.kernels.fused.artifacts.cache import cache_folder, replace_file
from kswatch.kernels.fused.artifacts.sources import source_files
from kswatch.kernels.fused.cuda.nvcc import (
    FLAGS,
    SOURCE_FOLDER,
    PtxasReport,
    compile_tile,
    find_nvcc,
    nvcc_version,
)
from kswatch.kernels.fused.cuda.tile import KernelUnit

CUBINS = "KSWATCH_CUBINS"
"""Environment variable; `any` also accepts kernels compiled by another nvcc, so that a cache can be filled
in advance for a machine on which compiling would take too long."""


@dataclass(frozen=True, slots=True)
class Cubin:
    """A compiled tile for one architecture."""

    code: bytes
    sha256: str
    compiler: str
    """The build line of nvcc."""
    resources: PtxasReport


@lru_cache(maxsize=512)
def cubin(tile: KernelUnit, architecture: int) -> Cubin:
    """The tile's machine code, from the cache or from nvcc; architecture 90 is sm_90.

    Raises:
        UnsupportedError: it is not in the cache and cannot be compiled here.
    """
    key = source_key(tile, architecture)
    nvcc = find_nvcc()
    foreign = newest_cubin(key) if nvcc is None or os.environ.get(CUBINS) == "any" else None
    stored = foreign or (read_entry(cache_entry(key, nvcc)) if nvcc else None)
    if stored is not None:
        return stored
    if nvcc is None:
        raise UnsupportedError(
            f"no nvcc to compile the fused kernel for sm_{architecture}, and none compiled before in "
            f"{cache_folder()}; `pip install 'kswatch[static]'`, name a CUDA toolkit in CUDA_HOME, or set "
            "KSWATCH_CACHE to a cache that was filled elsewhere"
        )
    return compile_into(cache_entry(key, nvcc), tile, architecture, nvcc)


def source_key(tile: KernelUnit, architecture: int) -> str:
    """sha256 over everything that determines the machine code, except for the compiler's version."""
    parts = [tile.source.encode(), repr((FLAGS, architecture)).encode()]
    with_hopper = tile.needs_trust
    paths = (
        path
        for path in source_files(SOURCE_FOLDER, "*.cu", "*.cuh")
        if with_hopper or not path.name.startswith("hopper")
    )
    parts += [path.read_bytes() for path in paths]
    return hashlib.sha256(b"\0".join(parts)).hexdigest()


def cache_entry(key: str, nvcc: str) -> Path:
    """The file of a source's cubin by one compiler; a sidecar `.json` is beside it."""
    version = hashlib.sha256(nvcc_version(nvcc).encode()).hexdigest()[:16]
    return cache_folder() / f"cubin-{key}-{version}.cubin"


def newest_cubin(key: str) -> Cubin | None:
    """The newest cubin of a source, whichever compiler made it."""
    paths = sorted(cache_folder().glob(f"cubin-{key}-*.cubin"), key=lambda path: path.stat().st_mtime)
    return read_entry(paths[-1]) if paths else None


def read_entry(path: Path) -> Cubin | None:
    """A complete entry; None for one that is missing or damaged."""
    try:
        code = path.read_bytes()
        facts = json.loads(path.with_suffix(".json").read_text())
        compiler, resources = facts["nvcc"], PtxasReport(**facts["resources"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    sha256 = hashlib.sha256(code).hexdigest()
    return Cubin(code, sha256, compiler, resources) if sha256 == facts["sha256"] else None


def compile_into(path: Path, tile: KernelUnit, architecture: int, nvcc: str) -> Cubin:
    """Compile a tile and keep it, with a sidecar of facts.

    Raises:
        UnsupportedError: nvcc fails, or the cache folder cannot be written.
    """
    code, resources = compile_tile(tile, architecture, nvcc)
    compiled = Cubin(code, hashlib.sha256(code).hexdigest(), nvcc_version(nvcc), resources)
    facts = {
        "tile": str(tile),
        "precision": tile.precision,
        "layout": tile.layout,
        "architecture": f"sm_{architecture}",
        "nvcc": compiled.compiler,
        "sha256": compiled.sha256,
        "resources": asdict(resources),
    }
    try:  # the sidecar first, each by a rename, so that no other process sees a partial entry
        replace_file(path.with_suffix(".json"), json.dumps(facts, indent=1).encode())
        replace_file(path, code)
    except OSError as error:
        raise UnsupportedError(
            f"cannot write the compiled kernel to {path.parent} ({error.strerror}); "
            "set KSWATCH_CACHE to a writable folder"
        ) from error
    return compiled
