"""The compiler of the CUDA kernel: nvcc, driven by PyCUDA where there is one, else by us.

Both pass the same flags and the same file name, and so give the same bytes.
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
from kswatch.kernels.fused.cuda.tile import Tile

SOURCE_FOLDER = Path(__file__).parent / "source"
FLAGS = ("-O3", "-std=c++17", "-Xptxas=-v")
USUAL_FOLDER = "/usr/local/cuda/bin"
TIMEOUT_S = 600


@dataclass(frozen=True, slots=True)
class Resources:
    """What ptxas says of a kernel: exact, the same on every machine."""

    registers: int
    """Per thread."""
    spill_bytes: int
    """Stored and loaded, per thread."""
    stack_bytes: int
    """Per thread."""
    shared_bytes: int
    """Per block, given at the launch."""


def compile_tile(tile: Tile, architecture: int, nvcc: str) -> tuple[bytes, Resources]:
    """The cubin of a tile for one architecture, and what it takes of the GPU.

    Raises:
        UnsupportedError: nvcc fails.
    """
    # PyCUDA tells by a warning what ptxas said, and warnings can be caught in one thread alone.
    alone = threading.current_thread() is threading.main_thread()
    by = by_pycuda if alone and pycuda_is_there() else by_nvcc
    code, report = by(tile.source, target(tile, architecture), nvcc)
    return code, resources_of(report, tile)


def target(tile: Tile, architecture: int) -> str:
    """What nvcc calls the architecture; wgmma is only in the variant that runs on no other."""
    return f"sm_{architecture}a" if tile.family == "warpgroups" else f"sm_{architecture}"


def find_nvcc() -> str | None:
    """The nvcc of a CUDA toolkit, or of NVIDIA's wheels (`pip install 'kswatch[static]'`)."""
    return find_tool("nvcc")


def find_tool(name: str) -> str | None:
    """A toolkit's program: of `$CUDA_HOME`, `$CUDA_PATH`, the PATH, the usual place, the wheels.

    The wheels come last: they may be newer than the driver, whom a cubin must suit.
    """
    homes = [Path(os.environ[home]) for home in ("CUDA_HOME", "CUDA_PATH") if os.environ.get(home)]
    folders = [home / "bin" for home in homes]
    wanted = [str(folder / name) for folder in folders] + [name, f"{USUAL_FOLDER}/{name}"]
    wanted += [str(folder / name) for folder in wheel_folders()]
    return next(filter(None, map(shutil.which, wanted)), None)


@cache
def wheel_folders() -> tuple[Path, ...]:
    """Where the wheels `nvidia-cuda-nvcc` and `nvidia-cuda-nvdisasm` put their programs."""
    spec = find_spec("nvidia")  # a namespace: finding it imports nothing
    places = (spec.submodule_search_locations or []) if spec else []
    return tuple(folder for place in places for folder in sorted(Path(place).glob("cu*/bin")))


@cache
def nvcc_version(nvcc: str) -> str:
    """The compiler's own line on its build, as `cuda_13.0.r13.0/compiler.36424714_0`."""
    try:
        done = subprocess.run(
            [nvcc, "--version"], capture_output=True, text=True, timeout=TIMEOUT_S, check=True
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise UnsupportedError(f"{nvcc} does not run: {error}; install the CUDA toolkit anew") from error
    return done.stdout.strip().splitlines()[-1].removeprefix("Build ")


@cache
def pycuda_is_there() -> bool:
    """Whether PyCUDA can be imported, which needs NVIDIA's driver."""
    try:
        import pycuda.compiler  # noqa: F401
        import pycuda.driver  # noqa: F401
    except ImportError:
        return False
    return True


def by_pycuda(source: str, target: str, nvcc: str) -> tuple[bytes, str]:
    """(cubin, what ptxas said): PyCUDA passes the latter on as a warning."""
    from pycuda.compiler import compile as compile_source
    from pycuda.driver import CompileError

    with warnings.catch_warnings(record=True) as said:
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
            raise refused(target, error.stderr or error.stdout or str(error)) from error
    return code, "\n".join(str(warning.message) for warning in said)


def by_nvcc(source: str, target: str, nvcc: str) -> tuple[bytes, str]:
    """The same without PyCUDA."""
    with tempfile.TemporaryDirectory(prefix="kswatch-nvcc-") as folder:
        (Path(folder) / "kernel.cu").write_text(source)
        command = [nvcc, "--cubin", *FLAGS, "-arch", target, f"-I{SOURCE_FOLDER}", "kernel.cu"]
        try:
            done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=TIMEOUT_S)
        except (OSError, subprocess.SubprocessError) as error:
            raise refused(target, str(error)) from error
        if done.returncode:
            raise refused(target, done.stderr or done.stdout)
        return (Path(folder) / "kernel.cubin").read_bytes(), done.stdout + done.stderr


def refused(target: str, said: str) -> UnsupportedError:
    """The error for an nvcc that fails, with its first complaint."""
    lines = said.strip().splitlines() or ["no message"]
    first = next((line for line in lines if "error" in line or "fatal" in line), lines[0])
    return UnsupportedError(
        f"nvcc does not compile the fused kernel for {target}: {first}; "
        "use a CUDA toolkit that knows this architecture and a host compiler that it supports"
    )


def resources_of(report: str, tile: Tile) -> Resources:
    """The figures of `ptxas -v`.

    Raises:
        UnsupportedError: the report is not of the form that we know.
    """
    registers = re.findall(r"Used (\d+) registers", report)  # one for each kernel of the tile
    stacks = re.findall(r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads", report)
    if not registers or not stacks:
        raise UnsupportedError(
            f"ptxas reports no registers or spills: {report[:200]!r}; use CUDA 11 or newer"
        )
    stack_bytes, stored, loaded = (sum(map(int, column)) for column in zip(*stacks, strict=True))
    return Resources(max(map(int, registers)), stored + loaded, stack_bytes, tile.shared_bytes)
