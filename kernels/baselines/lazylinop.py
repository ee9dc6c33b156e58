"""`lazylinop`: the maintained kernel of the paper's authors (Gonon et al., ICML 2025), by its interface.

On a CPU the kernel is OpenCL, by pocl. The interface takes arrays of the host and returns one, so each
product includes copies of X to a buffer of OpenCL and of Y from one; on a GPU it takes torch's tensors and
waits for the GPU after each product. Both stand beside the number as flags, since the interface offers
nothing else. Tiles are those that the package chooses.
"""

from __future__ import annotations

import io
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import replace
from typing import Any

import torch

from kswatch.errors import UnsupportedError
from kswatch.kernels.baselines.pocl import compiler_line, working_pocl
from kswatch.kernels.baselines.rival import Rival, sample_input
from kswatch.kernels.implementation import Empty, Product
from kswatch.kernels.pattern import Pattern
from kswatch.kernels.problem import Problem

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
        if problem.precision != "fp32":
            return "lazylinop is compared in fp32: in half precision its kernel sums in half precision"
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
        backend = "ksmm" if weights.is_cuda else working_pocl(torch.get_num_threads())
        from lazylinop.butterfly import ksm  # late: it is an extra, and its import takes a second

        return ksm(_as_array(weights), {"backend": backend, "params": None})


def _as_array(x: torch.Tensor) -> Any:  # noqa: ANN401
    return x if x.is_cuda else x.numpy()


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
