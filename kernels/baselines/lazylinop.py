"""`lazylinop`: the maintained kernel of the paper's authors (Gonon et al., ICML 2025), by its interface.

On a CPU the kernel is OpenCL, by pocl. A machine may have two, the system's (Debian's `pocl-opencl-icd`) and
that of the extra `rivals`. Each brings its own compiler, which may not know CPUs that are newer than itself:
the newest one that works is taken. The interface takes arrays of the host and returns one, so each
product includes copies of X to a buffer of OpenCL and of Y from one; on a GPU it takes torch's tensors and
waits for the GPU after each product. Both stand beside the number as flags, since the interface offers
nothing else. Tiles are those that the package chooses.
"""

from __future__ import annotations

import io
import os
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import replace
from functools import cache
from typing import Any

import torch

from kswatch.errors import UnsupportedError
from kswatch.kernels.baselines.rival import Rival, sample_input
from kswatch.kernels.implementation import Empty, Product
from kswatch.kernels.pattern import Pattern
from kswatch.kernels.problem import Problem

POCL = "Portable Computing Language"
POCL_THREADS = "POCL_MAX_PTHREAD_COUNT"
"""Read by pocl when it is loaded; a later change has no effect."""
CURE = "install another one: apt install pocl-opencl-icd, or pip install pocl-binary-distribution"
THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


class Lazylinop(Rival):
    """`lazylinop.butterfly.ksm`: K @ X for X of shape (features, batch)."""

    name = "lazylinop"
    label = "lazylinop"
    fixes_threads = True

    def limitation(self, problem: Problem) -> str | None:
        """Its kernel reads X as (features, batch), and is compared in the published precision."""
        if problem.layout == "batch_first":
            return "lazylinop takes X as (features, batch): batch_first would need two transpositions"
        if problem.precision not in ("fp32", "complex64"):
            return "lazylinop is compared in fp32 and complex64: in half precision its kernel sums in it"
        return None

    def caveats(self, problem: Problem, device: torch.device) -> tuple[str, ...]:
        """Its interface copies on a CPU and synchronises on a GPU."""
        del problem
        return ("copies_included",) if device.type == "cpu" else ("synchronises",)

    def build(self, problem: Problem, weights: torch.Tensor) -> Product:
        """The operator, with its kernel compiled for the batch.

        Raises:
            UnsupportedError: the package finds no tile for the problem, or cannot compile its kernel.
        """
        operator = _operator(weights)
        try:
            with _quiet():
                operator @ _as_array(sample_input(problem, weights.device))  # compiles, and allocates buffers
        except MemoryError:
            raise
        except Exception as error:  # the package raises Exception, OpenCL errors of its own, IndexError
            raise UnsupportedError(compiler_line(error)) from error

        def product(x: torch.Tensor, empty: Empty = torch.empty) -> torch.Tensor:
            del empty  # the interface allocates the output
            return torch.as_tensor(operator @ _as_array(x))

        return product

    def probe(self, problem: Problem) -> Problem:
        """One size for all: the package's search for tiles takes long for small ones."""
        return replace(problem, pattern=Pattern(1, 64, 64, 1), batch=64)

    def memory_bytes(self, problem: Problem) -> int:
        """The operands, their copies in buffers, and the weights of Kᵀ."""
        return 2 * problem.compulsory_bytes + problem.element_bytes * problem.pattern.nonzeros


def _operator(weights: torch.Tensor) -> Any:  # noqa: ANN401
    with _quiet():
        # before the import, which changes the number of threads
        backend = "ksmm" if weights.is_cuda else usable_pocl(torch.get_num_threads())
        from lazylinop.butterfly import ksm  # late: it is an extra, and its import takes a second

        return ksm(_as_array(weights), {"backend": backend, "params": None})


def _as_array(x: torch.Tensor) -> Any:  # noqa: ANN401
    return x if x.is_cuda else x.numpy()


@cache
def usable_pocl(threads: int) -> tuple[Any, Any]:
    """The platform and the device of the newest pocl that computes on this CPU, on so many threads.

    Raises:
        UnsupportedError: there is none; the message has the reason of each, and the cure.
    """
    os.environ.setdefault(POCL_THREADS, str(threads))
    refusals = []
    for platform in sorted(_platforms(), key=_release, reverse=True):
        (device,) = platform.get_devices()
        reason = _refusal(device, threads)
        if reason is None:
            return platform, device
        refusals.append(f"pocl {'.'.join(map(str, _release(platform)))}: {reason}")
    raise UnsupportedError("; ".join([*(refusals or ["no pocl is found"]), CURE]))


def _platforms() -> list[Any]:
    import pyopencl

    try:
        return [one for one in pyopencl.get_platforms() if one.name == POCL]
    except pyopencl.Error:  # there is no OpenCL at all
        return []


def _release(platform: Any) -> tuple[int, ...]:  # noqa: ANN401
    """(3, 1) of `OpenCL 3.0 PoCL 3.1+debian …`."""
    release = re.search(r"PoCL (\d+)\.(\d+)", platform.version)
    return tuple(map(int, release.groups())) if release else (0,)


def _refusal(device: Any, threads: int) -> str | None:  # noqa: ANN401
    """Why the device is of no use; None where it computes on so many threads."""
    if device.max_compute_units != threads:
        return f"it computes on {device.max_compute_units} threads instead of {threads}"
    try:
        _compute(device)
    except Exception as error:  # pyopencl's errors, and those of the compiler inside pocl
        return compiler_line(error)
    return None


def _compute(device: Any) -> None:  # noqa: ANN401
    """The smallest of programs."""
    import pyopencl

    context = pyopencl.Context([device])
    queue = pyopencl.CommandQueue(context)
    program = pyopencl.Program(context, "__kernel void nothing() {}").build()
    program.nothing(queue, (1,), None)
    queue.finish()


def compiler_line(error: Exception) -> str:
    """The compiler's line of an error, if it has one; pocl's is between lines about itself."""
    lines = str(error).strip().splitlines() or [""]
    line = next((one for one in lines if one.startswith("error:")), lines[0])
    return f"{type(error).__name__}: {line}"


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the package's prints and warnings; its import sets the threads of torch, kept here."""
    threads, discarded = torch.get_num_threads(), io.StringIO()
    variables = {name: os.environ.get(name) for name in THREAD_VARIABLES}
    try:
        with warnings.catch_warnings(), redirect_stdout(discarded), redirect_stderr(discarded):
            warnings.simplefilter("ignore")
            yield
    finally:
        torch.set_num_threads(threads)
        for name, value in variables.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
