"""`cutensor`: one contraction by NVIDIA's cuTENSOR, on strided tensors, without a copy in either layout.

The plan is made and tuned when a problem is prepared: each algorithm and, in fp32, both arithmetics that may
keep its limits are run, and the quickest correct one is kept. Interface: nvmath-python 1.0, `nvmath.tensor`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch

from kswatch.errors import UnsupportedError
from kswatch.kernels.baselines.blocks import empty_output
from kswatch.kernels.baselines.rival import Rival, quickest, sample_input
from kswatch.kernels.implementation import Empty, Product
from kswatch.kernels.problem import Problem
from kswatch.kernels.reference import check, reference

EQUATIONS = {"batch_first": "nacd,abcd->nabd", "batch_last": "acdn,abcd->abdn"}
ARITHMETICS = {"fp32": ("32F", "3XTF32"), "tf32": ("TF32",), "bf16": ("32F",), "fp16": ("32F",)}
"""Arithmetics of each precision, by cuTENSOR's names; 16-bit operands are summed in fp32."""
ALGORITHMS = ("DEFAULT", "DEFAULT_PATIENT", "GETT", "TGETT", "TTGT")
CHECKED_SAMPLES = 256
"""Samples by which an arithmetic is checked: its error does not depend on the batch."""


class Cutensor(Rival):
    """One call of cuTENSOR's contraction."""

    name = "cutensor"
    label = "cuTENSOR"

    def __init__(self) -> None:
        self._chosen: dict[tuple[Problem, torch.device], str] = {}

    def product(self, problem: Problem, laid_out: torch.Tensor) -> Product:
        """The quickest plan whose arithmetic keeps the limits of the precision."""
        x = sample_input(problem, laid_out.device)
        plans = {plan.name: plan for plan in _plans(problem, laid_out, x)}
        if not plans:
            raise UnsupportedError(f"{self.library} has no plan for {problem}")
        chosen = quickest({name: plan.product for name, plan in plans.items()}, x)
        for name, plan in plans.items():
            if name != chosen:
                plan.contraction.free()
        self._chosen[problem, laid_out.device] = chosen
        return plans[chosen].product

    def laid_out(self, problem: Problem, weights: torch.Tensor) -> torch.Tensor:
        """The weights (a, b, c, d) as they are."""
        del problem
        return weights.contiguous()

    def tile(self, problem: Problem, device: torch.device) -> str | None:
        """The arithmetic and the algorithm that were kept."""
        return self._chosen.get((problem, device))

    def memory_bytes(self, problem: Problem) -> int:
        """The operands twice: cuTENSOR's workspace may hold permuted ones."""
        return 2 * problem.compulsory_bytes


@dataclass(frozen=True)
class _Plan:
    """A contraction that is planned, and the product that executes it."""

    name: str
    contraction: Any
    product: Product


def _plans(problem: Problem, weights: torch.Tensor, x: torch.Tensor) -> Iterator[_Plan]:
    """Every plan that cuTENSOR makes, by arithmetic and algorithm, where the arithmetic is correct."""
    for arithmetic in ARITHMETICS[problem.precision]:
        if arithmetic == "3XTF32" and not _is_correct(problem, weights, x, arithmetic):
            continue
        plans = (_planned(problem, weights, x, arithmetic, algorithm) for algorithm in ALGORITHMS)
        yield from filter(None, plans)


def _is_correct(problem: Problem, weights: torch.Tensor, x: torch.Tensor, arithmetic: str) -> bool:
    """Whether an arithmetic keeps the limits of the precision, on a few samples."""
    few = replace(problem, batch=min(problem.batch, CHECKED_SAMPLES))
    samples = (x[: few.batch] if problem.layout == "batch_first" else x[:, : few.batch]).contiguous()
    plan = _planned(few, weights, samples, arithmetic, ALGORITHMS[0])
    if plan is None:
        return False
    y = plan.product(samples)
    plan.contraction.free()
    return check(few, y, reference(few, weights, samples)).ok


def _planned(
    problem: Problem, weights: torch.Tensor, x: torch.Tensor, arithmetic: str, algorithm: str
) -> _Plan | None:
    """One plan; None where cuTENSOR has no such algorithm for the problem."""
    from nvmath import tensor  # late: it is an extra

    input_shape, output_shape = _shapes(problem)
    contraction = tensor.BinaryContraction(
        EQUATIONS[problem.layout],
        x.view(input_shape),
        weights,
        out=x.new_empty(output_shape),
        options={"compute_type": getattr(tensor.ComputeDesc, f"COMPUTE_{arithmetic}")()},
    )
    contraction.plan_preference.algo = getattr(tensor.ContractionAlgo, algorithm)
    try:
        contraction.plan()
    except (torch.OutOfMemoryError, MemoryError):
        raise
    except Exception:  # the binding's own error, a plain Exception, in a module that needs the library
        contraction.free()
        return None

    def product(x: torch.Tensor, empty: Empty = torch.empty) -> torch.Tensor:
        y = empty_output(problem, x, empty)
        contraction.reset_operands_unchecked(a=x.view(input_shape), out=y.view(output_shape))
        contraction.execute()
        return y

    return _Plan(f"{arithmetic} {algorithm}", contraction, product)


def _shapes(problem: Problem) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """X and Y with a dimension for each letter of the equation."""
    a, b, c, d = problem.pattern.as_tuple()
    if problem.layout == "batch_first":
        return (problem.batch, a, c, d), (problem.batch, a, b, d)
    return (a, c, d, problem.batch), (a, b, d, problem.batch)
