"""`compiled`: what `torch.compile(mode="max-autotune")` makes of the product, the quicker of two forms.

Either form is written as a user would write it: one `torch.einsum`, or `torch.bmm` between two permutations.
The compiler chooses kernels by timing them, for one batch and the number of threads at that moment. On a GPU
its own CUDA graphs are off, since the measuring loop captures launches itself.
"""

from __future__ import annotations

import atexit
import io
import os
import shutil
import tempfile
import time
import types
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from functools import cache
from typing import Any

import torch

from kswatch.kernels.baselines.blocks import weight_blocks
from kswatch.kernels.baselines.einsum import EQUATIONS, Einsum
from kswatch.kernels.baselines.rival import Rival, quickest, sample_input
from kswatch.kernels.implementation import Empty, Product
from kswatch.kernels.problem import Problem

CACHE_VARIABLE = "TORCHINDUCTOR_CACHE_DIR"

Form = Callable[[torch.Tensor], torch.Tensor]
"""`form(x) -> y` for one layout and the blocks that it refers to."""


class Compiled(Rival):
    """The einsum or the bmm form, compiled; compiling takes seconds for each problem."""

    name = "compiled"
    label = "torch.compile"
    fixes_threads = True

    def __init__(self) -> None:
        self._chosen: dict[tuple[Problem, torch.device], tuple[str, float]] = {}

    def refusal(self, problem: Problem, device: torch.device) -> str | None:
        """What `torch.einsum` cannot compute, or the compiler's error for the smallest of programs."""
        return Einsum().unsupported(problem, device) or _compiler_error(device)

    def laid_out(self, problem: Problem, weights: torch.Tensor) -> torch.Tensor:
        """The blocks (a, d, b, c)."""
        del problem
        return weight_blocks(weights)

    def product(self, problem: Problem, laid_out: torch.Tensor) -> Product:
        """Compiles both forms and keeps the quicker one."""
        x = sample_input(problem, laid_out.device)
        forms = {"einsum": _einsum_form(problem, laid_out), "bmm": _bmm_form(problem, laid_out)}
        products, compile_ms = {}, {}
        for name, form in forms.items():
            products[name], compile_ms[name] = _compiled(form, x)
        chosen = quickest(products, x)
        self._chosen[problem, laid_out.device] = chosen, sum(compile_ms.values())
        return products[chosen]

    def compile_ms(self, problem: Problem, device: torch.device) -> float | None:
        """Time of both forms until their first results; equal parts of both are compiled once."""
        found = self._chosen.get((problem, device))
        return found[1] if found else None

    def tile(self, problem: Problem, device: torch.device) -> str | None:
        """The form that was kept."""
        found = self._chosen.get((problem, device))
        return found[0] if found else None

    def memory_bytes(self, problem: Problem) -> int:
        """The operands, the re-laid weights, and permuted activations."""
        return 2 * problem.compulsory_bytes + problem.element_bytes * problem.pattern.nonzeros


def _einsum_form(problem: Problem, blocks: torch.Tensor) -> Form:
    equation, (a, _, c, d) = EQUATIONS[problem.layout], problem.pattern.as_tuple()
    batch_first, output_shape = problem.layout == "batch_first", problem.output_shape
    shape = (problem.batch, a, c, d) if batch_first else (a, c, d, problem.batch)

    def einsum_form(x: torch.Tensor) -> torch.Tensor:
        return torch.einsum(equation, blocks, x.view(shape)).reshape(output_shape).contiguous()

    return einsum_form


def _bmm_form(problem: Problem, blocks: torch.Tensor) -> Form:
    a, d, b, c = blocks.shape
    batch_first, output_shape = problem.layout == "batch_first", problem.output_shape
    factors = blocks.flatten(0, 1).transpose(1, 2) if batch_first else blocks.flatten(0, 1)

    def bmm_form(x: torch.Tensor) -> torch.Tensor:
        if batch_first:
            inputs = x.view(-1, a, c, d).permute(1, 3, 0, 2).reshape(a * d, -1, c)
            return torch.bmm(inputs, factors).view(a, d, -1, b).permute(2, 0, 3, 1).reshape(output_shape)
        inputs = x.view(a, c, d, -1).transpose(1, 2).reshape(a * d, c, -1)
        return torch.bmm(factors, inputs).view(a, d, b, -1).transpose(1, 2).reshape(output_shape)

    return bmm_form


def _compiled(form: Form, x: torch.Tensor) -> tuple[Product, float]:
    """The form compiled for the shape of x, and the milliseconds until its first result."""
    mode = "max-autotune-no-cudagraphs" if x.is_cuda else "max-autotune"
    compiled = torch.compile(_with_code_of_its_own(form), mode=mode, fullgraph=True, dynamic=False)
    begin_s = time.perf_counter()
    with _compiler_settings():
        compiled(x)
    if x.is_cuda:
        torch.cuda.synchronize(x.device)
    compile_ms = 1e3 * (time.perf_counter() - begin_s)

    def product(x: torch.Tensor, empty: Empty = torch.empty) -> torch.Tensor:
        del empty  # the compiled code allocates its output
        return compiled(x)

    return product, compile_ms


def _with_code_of_its_own(form: Any) -> Form:  # noqa: ANN401  (a function, with a function's attributes)
    """A copy of a function: torch keeps compiled versions by code object, and gives up after a few."""
    code = form.__code__.replace()
    return types.FunctionType(code, form.__globals__, form.__name__, None, form.__closure__)


@contextmanager
def _compiler_settings() -> Iterator[None]:
    """Without results of an earlier compilation, worker processes on the measured cores, and prints."""
    from torch._inductor import config  # late: its import takes a second

    discarded = io.StringIO()
    settings = config.patch(force_disable_caches=True, compile_threads=1)
    with settings, redirect_stdout(discarded), redirect_stderr(discarded):
        yield


@cache
def _compiler_error(device: torch.device) -> str | None:
    """Why nothing can be compiled here; None where it can.

    From then on compiled code lies in a folder of this process, which already holds what every compilation
    needs, such as headers: so neither an earlier night nor the order of problems changes how long one takes.
    """
    folder = tempfile.mkdtemp(prefix="kswatch-compiled-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    os.environ[CACHE_VARIABLE] = folder
    try:
        _compiled(lambda x: x + x, torch.ones(64, device=device))
    except Exception as error:  # no compiler, no Triton, or one that does not suit this torch
        return f"torch {torch.__version__} cannot compile here: {(str(error).splitlines() or [''])[0]}"
    return None
