"""Loads and launches PTX on the interpreter in `source/`, which is built once with the system compiler."""

from __future__ import annotations

import ctypes
import fcntl
import hashlib
import os
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import torch

from kswatch.kernels.fused.artifacts.cache import cache_folder
from kswatch.kernels.fused.artifacts.host_compiler import find_compiler, run_compiler
from kswatch.kernels.fused.artifacts.sources import source_files
from kswatch.kernels.fused.cpu_twin.build import processor

SOURCES = Path(__file__).parent / "source"
FLAGS = ("-std=c++20", "-march=native", "-ffp-contract=off", "-fPIC", "-Wall", "-Wextra", "-Werror")
HOT_SOURCES = (
    "access",
    "arithmetic",
    "memory",
    "order",
    "scheduler",
    "selection",
    "tensor_cores",
    "warpgroup",
)
"""Where nearly all time goes: compiled with -O3, and the rest with -O1, which takes half as long to build."""
REPORT_BYTES = 1 << 16
READABLE, WRITABLE = 1, 2


class ProgramError(Exception):
    """A program that the interpreter cannot parse: an unknown opcode, with its line and kernel."""


class _Region(ctypes.Structure):
    _fields_ = [
        ("base", ctypes.c_uint64),
        ("bytes", ctypes.c_uint64),
        ("flags", ctypes.c_uint32),
        ("written", ctypes.c_void_p),
        ("name", ctypes.c_char_p),
    ]


class _Options(ctypes.Structure):
    _fields_ = [
        ("seed", ctypes.c_uint64),
        ("truncating", ctypes.c_int),
        ("threads", ctypes.c_int),
        ("quantum", ctypes.c_int),
        ("max_faults", ctypes.c_int),
        ("shared_shift", ctypes.c_uint32),
        ("max_steps", ctypes.c_uint64),
        ("cluster", ctypes.c_uint32),
    ]


class _Launch(ctypes.Structure):
    _fields_ = [
        ("grid", ctypes.c_uint32),
        ("threads", ctypes.c_uint32),
        ("dynamic_bytes", ctypes.c_uint32),
        ("parameters", ctypes.c_char_p),
        ("parameter_bytes", ctypes.c_size_t),
        ("regions", ctypes.POINTER(_Region)),
        ("region_count", ctypes.c_uint32),
        ("clusters", ctypes.c_void_p),
        ("cluster_count", ctypes.c_uint32),
    ]


@dataclass(frozen=True)
class Array:
    """Global memory that a kernel may use."""

    name: str
    base: int
    size_bytes: int
    access: int = READABLE
    written: torch.Tensor | None = None
    """How often each byte was written, as uint8; a byte that is read must have been written."""


def array(
    name: str, tensor: torch.Tensor, access: int = READABLE, counts: torch.Tensor | None = None
) -> Array:
    """The memory of a tensor."""
    return Array(name, tensor.data_ptr(), tensor.nbytes, access, counts)


@dataclass(frozen=True)
class Options:
    """How the warps of a launch run."""

    seed: int = 1
    """Determines the order of warps and of copies that land."""
    truncating: bool = False
    """Sums of the tensor cores are cut at 24 bits instead of rounded."""
    quantum: int = 40
    """Most instructions of a warp before another may run."""
    shared_shift: int = 0
    """Bytes added to the base of dynamic shared memory."""
    max_steps: int = 0
    """Instructions after which a warp counts as endless; 0 for no limit."""
    threads: int = 1
    """Of the host."""


@dataclass
class Findings:
    """What launches have found."""

    faults: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    instructions: int = 0
    """Of warps."""
    divergent_branches: int = 0


@cache
def library() -> ctypes.CDLL:
    """The interpreter, from the cache if the same sources were built before.

    Raises:
        UnsupportedError: there is no C++ compiler, or it fails.
    """
    compiler = find_compiler()
    paths = source_files(SOURCES, "*.cpp", "*.hpp")
    parts = [path.read_bytes() for path in paths]
    parts += [
        repr((FLAGS, HOT_SOURCES)).encode(),
        run_compiler([compiler, "--version"]).encode(),
        processor().encode(),
    ]
    key = hashlib.sha256(b"\0".join(parts)).hexdigest()
    built = cache_folder() / f"ptx-interpreter-{key}.so"
    with exclusive(built):
        if not built.exists():
            _build(compiler, built)
    loaded = ctypes.CDLL(str(built))
    loaded.ptx_load.restype = ctypes.c_void_p
    loaded.ptx_load.argtypes = [ctypes.c_char_p, ctypes.c_char_p, ctypes.c_size_t]
    loaded.ptx_free.argtypes = [ctypes.c_void_p]
    loaded.ptx_facts.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.POINTER(ctypes.c_int)]
    loaded.ptx_launch.argtypes = [
        *(ctypes.c_void_p, ctypes.c_char_p, ctypes.POINTER(_Launch), ctypes.POINTER(_Options)),
        *(ctypes.c_char_p, ctypes.c_size_t, ctypes.POINTER(ctypes.c_uint64)),
    ]
    return loaded


@contextmanager
def exclusive(path: Path) -> Iterator[None]:
    """Let one process at a time make a file of the cache: the tests run in several."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = path.with_name(f"{path.name}.lock")
    with lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
        lock.unlink(missing_ok=True)


def _build(compiler: str, target: Path) -> None:
    """Compile two units at the same time; one for each source would read the headers too often."""
    paths = source_files(SOURCES, "*.cpp")
    units = {
        "-O3": [path for path in paths if path.stem in HOT_SOURCES],
        "-O1": [path for path in paths if path.stem not in HOT_SOURCES],
    }
    with tempfile.TemporaryDirectory(dir=target.parent, prefix="ptx-building-") as folder:

        def compile_unit(level: str) -> str:
            unit = Path(folder) / f"unit{level}.cpp"
            unit.write_text("".join(f'#include "{path.name}"\n' for path in units[level]))
            run_compiler([compiler, *FLAGS, level, f"-I{SOURCES}", "-c", str(unit), "-o", f"{unit}.o"])
            return f"{unit}.o"

        with ThreadPoolExecutor(len(units)) as pool:
            objects = list(pool.map(compile_unit, units))
        built = Path(folder) / "interpreter.so"
        run_compiler([compiler, "-shared", "-pthread", *objects, "-o", str(built)])
        os.replace(built, target)


class Program:
    """A parsed module of PTX."""

    def __init__(self, text: str) -> None:
        """Parse the text.

        Raises:
            ProgramError: it has an opcode or a directive that the interpreter does not know.
        """
        message = ctypes.create_string_buffer(2000)
        self._module = library().ptx_load(text.encode(), message, len(message))
        if not self._module:
            raise ProgramError(message.value.decode())

    def __del__(self) -> None:
        if getattr(self, "_module", None):
            library().ptx_free(self._module)

    def cluster(self, entry: str) -> int:
        """Blocks of a cluster that the kernel was compiled for; 1 if for none."""
        facts = (ctypes.c_int * 6)()
        if library().ptx_facts(self._module, entry.encode(), facts):
            raise ProgramError(f"no kernel {entry}")
        return max(1, facts[5])

    def launch(
        self,
        entry: str,
        grid: int,
        threads: int,
        shared_bytes: int,
        packed: bytes,
        arrays: Sequence[Array],
        options: Options | None = None,
        clusters: Sequence[int] | None = None,
        findings: Findings | None = None,
    ) -> Findings:
        """Run a kernel on a one-dimensional grid; returns what was found, added to earlier findings.

        Args:
            entry: The kernel's name.
            grid: Blocks.
            threads: Threads of a block.
            shared_bytes: Dynamic shared memory of a block.
            packed: The parameters, as the driver takes them.
            arrays: All global memory that the kernel may use.
            options: How to run it.
            clusters: Only these clusters (blocks, without clusters) instead of the whole grid.
            findings: Of earlier launches.
        """
        options, found = options or Options(), findings or Findings()
        regions = (_Region * len(arrays))(*map(_region, arrays))
        chosen = (ctypes.c_uint32 * len(clusters))(*clusters) if clusters is not None else None
        launch = _Launch(
            *(grid, threads, shared_bytes, packed, len(packed), regions, len(arrays)),
            ctypes.cast(chosen, ctypes.c_void_p) if chosen is not None else None,
            len(clusters or ()),
        )
        settings = _Options(
            *(options.seed, options.truncating, options.threads, options.quantum, 40),
            *(options.shared_shift, options.max_steps, self.cluster(entry)),
        )
        report = ctypes.create_string_buffer(REPORT_BYTES)
        counts = (ctypes.c_uint64 * 4)()
        library().ptx_launch(
            self._module,
            entry.encode(),
            ctypes.byref(launch),
            ctypes.byref(settings),
            report,
            REPORT_BYTES,
            counts,
        )
        lines = report.value.decode(errors="replace").splitlines()
        found.faults += [line.partition(" ")[2] for line in lines if line.startswith("FAULT")]
        found.notes += [line.partition(" ")[2] for line in lines if line.startswith("NOTE")]
        found.instructions += counts[0]
        found.divergent_branches += counts[2]
        return found


def _region(memory: Array) -> _Region:
    counts = None if memory.written is None else memory.written.data_ptr()
    return _Region(memory.base, memory.size_bytes, memory.access, counts, memory.name.encode())
