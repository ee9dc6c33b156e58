"""Runs the CUDA kernel's source on the CPU, for tests without a GPU or a CUDA toolkit.

The system compiler builds the same `.cu` against `host_device.hpp`, which emulates the threads of a
block one by one and reports races, missing waits and accesses out of bounds. It is slow.
"""

from __future__ import annotations

import ctypes
import hashlib
import subprocess
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import torch

from kswatch.kernels.fused.artifacts.cache import cache_folder
from kswatch.kernels.fused.artifacts.host_compiler import find_compiler
from kswatch.kernels.fused.artifacts.sources import source_files
from kswatch.kernels.fused.cuda.nvcc import SOURCE_FOLDER as CUDA_FOLDER
from kswatch.kernels.fused.cuda.tile import KernelUnit
from kswatch.kernels.problem import ELEMENT_BYTES

FLAGS = ("-std=c++17", "-O1", "-fPIC", "-shared", "-U_FORTIFY_SOURCE", "-Wall", "-Werror")
FOLDER = Path(__file__).parent / "source"
PRELUDE = "host_prelude.hpp"
MESSAGE_BYTES = 512
ACCESSES = ("loads", "stores", "matrices", "copies")
Traffic = dict[str, tuple[int, int]]
"""(passes, minimum passes) through the banks of shared memory, by kind of access."""


class Defect(Exception):
    """An error that the emulation found in a thread of the kernel."""


class Array(ctypes.Structure):
    """`ks::host::Array`: global memory that the kernel may access."""

    _fields_ = [("base", ctypes.c_void_p), ("bytes", ctypes.c_uint64), ("writable", ctypes.c_int)]


def build(tile: KernelUnit, folder: Path = CUDA_FOLDER) -> Path:
    """The shared library that runs this tile, from the cache if the same source was built before.

    Raises:
        UnsupportedError: there is no C++ compiler.
        Defect: the source does not compile.
    """
    unit = tile.source.replace("fused.cu", "host_run.cpp").replace("chain.cu", "host_run.cpp")
    if ELEMENT_BYTES[tile.precision] == 1:
        unit = f"#define KS_GRAIN 1\n{unit}"
    sources = source_files(folder, "fused.cu", "chain.cu", "*.cuh") + source_files(FOLDER, "host_*")
    sources = [path for path in sources if not path.name.startswith("hopper")]  # wgmma is not emulated
    key = hashlib.sha256(b"\0".join([unit.encode(), *(path.read_bytes() for path in sources)]))
    library = cache_folder() / f"host-{key.hexdigest()}.so"
    if library.exists():
        return library
    library.parent.mkdir(parents=True, exist_ok=True)
    prelude = compiled_prelude()
    with tempfile.TemporaryDirectory(dir=library.parent) as scratch:
        (Path(scratch) / "unit.cpp").write_text(unit)
        compile_in(
            Path(scratch),
            ["-include", str(prelude), f"-I{folder}", f"-I{FOLDER}", "unit.cpp", "-o", "unit.so"],
        )
        (Path(scratch) / "unit.so").replace(library)
    return library


def compiled_prelude() -> Path:
    """The precompiled header, which halves the build time of a tile."""
    source = (FOLDER / PRELUDE).read_bytes()
    version = subprocess.run([find_compiler(), "--version"], capture_output=True).stdout
    key = hashlib.sha256(b"\0".join([source, version, repr(FLAGS).encode()])).hexdigest()
    kept = cache_folder() / f"host-prelude-{key}"
    if not kept.exists():
        with tempfile.TemporaryDirectory(dir=kept.parent) as scratch:
            building = Path(scratch) / "prelude"
            building.mkdir()
            (building / PRELUDE).write_bytes(source)
            compile_in(building, ["-x", "c++-header", PRELUDE, "-o", f"{PRELUDE}.gch"])
            with suppress(OSError):  # another process was faster
                building.rename(kept)
    return kept / PRELUDE


def compile_in(folder: Path, arguments: Sequence[str]) -> None:
    """Run the compiler in a folder.

    Raises:
        Defect: the compiler reports a warning or an error.
    """
    command = [find_compiler(), *FLAGS, *arguments]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    if done.returncode:
        raise Defect(done.stderr)


def execute(
    library: Path,
    packed: bytes,
    shape: tuple[int, int, int],
    tensors: Sequence[torch.Tensor],
    seed: int,
    first: int = 0,
    second_pass: bool = False,
) -> Traffic:
    """Launch a built library as the driver would; returns the traffic of shared memory.

    Args:
        library: From `build`.
        packed: The arguments in `arguments.FORMAT`.
        shape: (blocks, threads, bytes of shared memory).
        tensors: The global memory that the kernel may read; it may write only the last one.
        seed: Determines the order in which threads run.
        first: The first block to run, of those in `shape`.
        second_pass: Launch the kernel that adds up parts, instead of the product.

    Raises:
        Defect: a thread races, misses a wait, accesses memory outside the tensors, or waits forever.
    """
    arrays = (Array * len(tensors))(
        *(Array(tensor.data_ptr(), tensor.nbytes, tensor is tensors[-1]) for tensor in tensors)
    )
    message = ctypes.create_string_buffer(MESSAGE_BYTES)
    run = ctypes.CDLL(str(library)).ks_host_run
    run.argtypes = [ctypes.c_int, ctypes.c_char_p, ctypes.c_uint, ctypes.c_uint, ctypes.c_int]
    run.argtypes += [ctypes.c_size_t, ctypes.c_uint]
    run.argtypes += [ctypes.POINTER(Array), ctypes.c_int, ctypes.c_char_p, ctypes.c_size_t, ctypes.c_void_p]
    traffic = (ctypes.c_uint64 * (2 * len(ACCESSES)))()
    if run(second_pass, packed, first, *shape, seed, arrays, len(arrays), message, MESSAGE_BYTES, traffic):
        raise Defect(message.value.decode())
    return {kind: (traffic[2 * i], traffic[2 * i + 1]) for i, kind in enumerate(ACCESSES)}
