"""The compiler of the CUDA kernel: nvcc, run through PyCUDA where it is installed, else directly.

Both pass the same flags and the same file name, so the cubins are identical.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
import threading
import warnings
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from kswatch.errors import UnsupportedError
from kswatch.kernels.fused.cuda.tile import KernelUnit

SOURCE_FOLDER = Path(__file__).parent / "source"
FLAGS = ("-O3", "-std=c++17", "-Xptxas=-v")
DEFAULT_FOLDER = "/usr/local/cuda/bin"
TIMEOUT_S = 600


@dataclass(frozen=True, slots=True)
class PtxasReport:
    """The resources that ptxas reports for a kernel: exact, the same on every machine."""

    registers: int
    """Per thread."""
    spill_bytes: int
    """Stored and loaded, per thread."""
    stack_bytes: int
    """Per thread."""
    shared_bytes: int
    """Per block, requested at the launch."""


def compile_tile(tile: KernelUnit, architecture: int, nvcc: str) -> tuple[bytes, PtxasReport]:
    """The cubin of a tile for one architecture, and its resources.

    Raises:
        UnsupportedError: nvcc fails.
    """
    # wgmma needs the variant that runs on no other architecture
    target = f"sm_{architecture}a" if tile.needs_trust else f"sm_{architecture}"
    # PyCUDA passes the report of ptxas on as a warning, and warnings are caught safely in one thread only.
    in_main_thread = threading.current_thread() is threading.main_thread()
    compile_source = compile_by_pycuda if in_main_thread and has_pycuda() else compile_by_nvcc
    code, report = compile_source(tile.source, target, nvcc)
    return code, parse_ptxas_report(report, tile)


def find_nvcc() -> str | None:
    """The nvcc of a CUDA toolkit, or of NVIDIA's wheels (`pip install 'kswatch[static]'`)."""
    return find_tool("nvcc")


def find_tool(name: str) -> str | None:
    """A toolkit's program, from `$CUDA_HOME`, `$CUDA_PATH`, the PATH, the default folder, or the wheels.

    The wheels come last: they may be newer than the driver, which must be able to load the cubin.
    """
    homes = [Path(os.environ[home]) for home in ("CUDA_HOME", "CUDA_PATH") if os.environ.get(home)]
    folders = [home / "bin" for home in homes]
    candidates = [str(folder / name) for folder in folders] + [name, f"{DEFAULT_FOLDER}/{name}"]
    candidates += [str(folder / name) for folder in wheel_folders()]
    return next(filter(None, map(shutil.which, candidates)), None)


@cache
def wheel_folders() -> tuple[Path, ...]:
    """The folders with the programs of the wheels `nvidia-cuda-nvcc` and `nvidia-cuda-nvdisasm`."""
    spec = find_spec("nvidia")  # a namespace package: finding it imports nothing
    places = (spec.submodule_search_locations or []) if spec else []
    return tuple(folder for place in places for folder in sorted(Path(place).glob("cu*/bin")))


@cache
def nvcc_version(nvcc: str) -> str:
    """The build line that the compiler prints, such as `cuda_13.0.r13.0/compiler.36424714_0`."""
    try:
        done = subprocess.run(
            [nvcc, "--version"], capture_output=True, text=True, timeout=TIMEOUT_S, check=True
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise UnsupportedError(f"{nvcc} does not run: {error}; reinstall the CUDA toolkit") from error
    return done.stdout.strip().splitlines()[-1].removeprefix("Build ")


@cache
def has_pycuda() -> bool:
    """Whether PyCUDA can be imported, which needs NVIDIA's driver."""
    try:
        import pycuda.compiler  # noqa: F401
        import pycuda.driver  # noqa: F401
    except ImportError:
        return False
    return True


def compile_by_pycuda(source: str, target: str, nvcc: str) -> tuple[bytes, str]:
    """(cubin, report of ptxas), compiled by PyCUDA, which passes the report on as a warning."""
    from pycuda.compiler import compile as compile_source
    from pycuda.driver import CompileError

    with warnings.catch_warnings(record=True) as report:
        warnings.simplefilter("always")
        try:
            code = compile_source(
                source,
                nvcc=nvcc,
                options=list(FLAGS),
                no_extern_c=True,
                arch=target,
                cache_dir=False,
                include_dirs=[str(SOURCE_FOLDER)],
                target="cubin",
            )
        except CompileError as error:
            raise compile_failure(target, error.stderr or error.stdout or str(error)) from error
    return code, "\n".join(str(warning.message) for warning in report)


def compile_by_nvcc(source: str, target: str, nvcc: str) -> tuple[bytes, str]:
    """(cubin, report of ptxas), compiled without PyCUDA."""
    with tempfile.TemporaryDirectory(prefix="kswatch-nvcc-") as folder:
        (Path(folder) / "kernel.cu").write_text(source)
        command = [nvcc, "--cubin", *FLAGS, "-arch", target, f"-I{SOURCE_FOLDER}", "kernel.cu"]
        try:
            done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=TIMEOUT_S)
        except (OSError, subprocess.SubprocessError) as error:
            raise compile_failure(target, str(error)) from error
        if done.returncode:
            raise compile_failure(target, done.stderr or done.stdout)
        return (Path(folder) / "kernel.cubin").read_bytes(), done.stdout + done.stderr


def compile_failure(target: str, output: str) -> UnsupportedError:
    """The error for an nvcc that fails, with its first error message."""
    lines = output.strip().splitlines() or ["no message"]
    first = next((line for line in lines if "error" in line or "fatal" in line), lines[0])
    return UnsupportedError(
        f"nvcc does not compile the fused kernel for {target}: {first}; "
        "use a CUDA toolkit that knows this architecture and a host compiler that it supports"
    )


def parse_ptxas_report(report: str, tile: KernelUnit) -> PtxasReport:
    """The figures that `ptxas -v` printed.

    Raises:
        UnsupportedError: the report has an unknown format.
    """
    registers = re.findall(r"Used (\d+) registers", report)  # one for each kernel of the tile
    stacks = re.findall(r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads", report)
    if not registers or not stacks:
        raise UnsupportedError(
            f"ptxas reports no registers or spills: {report[:200]!r}; use CUDA 11 or newer"
        )
    stack_bytes, stored, loaded = (sum(map(int, column)) for column in zip(*stacks, strict=True))
    return PtxasReport(max(map(int, registers)), stored + loaded, stack_bytes, tile.shared_bytes)
