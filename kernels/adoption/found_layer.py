"""A linear layer that was found in a model or in a file, as the planner takes it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch

from kswatch.kernels.problem import Precision

PRECISION_OF: dict[torch.dtype, Precision] = {
    torch.float32: "fp32",
    torch.bfloat16: "bf16",
    torch.float16: "fp16",
}


@dataclass(frozen=True)
class FoundLayer:
    """One weight of a model and the calls of the layers that hold it."""

    name: str
    shared_with: tuple[str, ...]
    in_features: int
    out_features: int
    bias_parameters: int
    calls: tuple[int, ...]
    """Rows of the input of each call."""
    precision: Precision | None
    reason: str | None
    """Why the layer must be left; None where it may be replaced."""
    read_matrix: Callable[[], torch.Tensor] | None
    """Returns the weight as (features out, features in)."""
