"""Products of implementations, for tests and figures alike."""

from __future__ import annotations

from collections.abc import Iterable

import torch

from kswatch.kernels.catalogue import implementation
from kswatch.kernels.implementation import Product
from kswatch.kernels.precision import precision_scope
from kswatch.kernels.problem import Problem


def poisoned(*shape: object, **options: object) -> torch.Tensor:
    """An output full of NaN, so that an element that is not written is found."""
    return torch.empty(*shape, **options).fill_(torch.nan)


def supported_products(names: Iterable[str], problem: Problem, weights: torch.Tensor) -> dict[str, Product]:
    """The products of those of the implementations that support the problem, prepared in its precision."""
    with precision_scope(problem):
        return {
            name: implementation(name).prepare(problem, weights)
            for name in names
            if implementation(name).unsupported(problem, weights.device) is None
        }
