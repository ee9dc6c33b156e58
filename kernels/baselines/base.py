"""The base class of the baselines; a tiny product shows whether a library supports a problem."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any

import torch

from kswatch.errors import UnsupportedError
from kswatch.kernels.implementation import (
    STORAGE_DTYPES,
    WEIGHT_DTYPES,
    Implementation,
    LiveProduct,
    Product,
    add_bias,
)
from kswatch.kernels.pattern import Pattern
from kswatch.kernels.precision import precision_scope, unsupported_precision
from kswatch.kernels.problem import Problem


class Baseline(Implementation):
    """A method of stock torch, or of another library."""

    library = f"torch {torch.__version__}"
    """The library, with its version, whose errors make a problem unsupported."""

    def fp8_limitation(self, problem: Problem) -> str | None:
        """Why the method does not apply in fp8; None where it does."""
        del problem
        return "torch multiplies fp8 by torch._scaled_mm alone, as `dense` and, where d = 1, `bmm_strided` do"

    def unsupported(self, problem: Problem, device: torch.device) -> str | None:
        """The limit of the method or the device, or the library's error for a tiny problem of this kind."""
        return (
            (self.fp8_limitation(problem) if problem.precision == "fp8" else None)
            or self.limitation(problem)
            or unsupported_precision(problem.precision, device)
            or self.refusal(problem, device)
        )

    def refusal(self, problem: Problem, device: torch.device) -> str | None:
        """The library's error for a tiny problem of this kind; None where it computes one."""
        return _refusal(self, self.probe(problem), device)

    def prepare(self, problem: Problem, weights: torch.Tensor) -> Product:
        """A closure over the re-laid weights; call it without autograd, inside `precision_scope`.

        Raises:
            UnsupportedError: `unsupported` returns a reason.
        """
        self.require_support(problem, weights.device)
        return self.build(problem, weights.detach())

    def require_support(self, problem: Problem, device: torch.device) -> None:
        """Raise the reason where a problem is not supported.

        Raises:
            UnsupportedError: `unsupported` returns a reason.
        """
        if reason := self.unsupported(problem, device):
            raise UnsupportedError(f"{self.name} cannot compute {problem} on {device}: {reason}")

    def build(self, problem: Problem, weights: torch.Tensor) -> Product:
        """`prepare` without the check that torch supports the problem; a method defines this or `product`."""
        return self.product(problem, self.laid_out(problem, weights))

    def lay_out(self, problem: Problem, weights: torch.Tensor, transposed: bool = False) -> Any:  # noqa: ANN401
        """See `Implementation`; a transposed view is as good as a copy to most methods."""
        self.require_support(problem, weights.device)
        weights = weights.detach()
        return self.laid_out(problem, weights.transpose(1, 2) if transposed else weights)

    def laid_out(self, problem: Problem, weights: torch.Tensor) -> Any:  # noqa: ANN401
        """Weights of shape (a, b, c, d) in the order in which the method reads them."""
        del problem
        return weights

    def live_product(self, problem: Problem, device: torch.device, transposed: bool = False) -> LiveProduct:
        """See `Implementation`."""
        self.require_support(problem, device)

        def product(weights: torch.Tensor, x: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
            blocks = weights.transpose(1, 2) if transposed else weights
            return add_bias(problem, self.product(problem, self.laid_out(problem, blocks))(x), bias)

        return product

    def product(self, problem: Problem, laid_out: Any) -> Product:  # noqa: ANN401
        """See `Implementation`, without the check that torch supports the problem."""
        return self.build(problem, laid_out)

    def limitation(self, problem: Problem) -> str | None:
        """Why the method does not apply to this problem; None where it does."""
        del problem
        return None

    def probe(self, problem: Problem) -> Problem:
        """A tiny problem that the library supports if and only if it supports this one."""
        return replace(problem, pattern=Pattern(2, 16, 16, min(problem.pattern.d, 2)), batch=16)


@cache
def _refusal(baseline: Baseline, probe: Problem, device: torch.device) -> str | None:
    dtype = STORAGE_DTYPES[probe.precision]
    weights = torch.zeros(probe.pattern.as_tuple(), dtype=WEIGHT_DTYPES[probe.precision], device=device)
    x = torch.zeros(probe.input_shape, dtype=dtype, device=device)
    try:
        with torch.no_grad(), precision_scope(probe):
            baseline.build(probe, weights)(x).sum().item()
    except (torch.OutOfMemoryError, MemoryError):
        raise
    except Exception as error:  # libraries' errors have no common type: RuntimeError, ValueError, ...
        message = str(error).strip().splitlines() or [type(error).__name__]
        return f"{baseline.library} refuses {probe.precision} on {device.type}: {message[0]}"
    return None
