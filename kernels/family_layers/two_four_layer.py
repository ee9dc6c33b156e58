"""2:4 sparsity through torch: cuSPARSELt or CUTLASS on NVIDIA's GPUs, nowhere else."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from kswatch.errors import UnsupportedError, UsageError
from kswatch.kernels.families.base import LayerShape
from kswatch.kernels.implementation import STORAGE_DTYPES
from kswatch.kernels.problem import Layout

CUTLASS_MAJOR = 8
"""Torch's CUTLASS kernels for 2:4 sparsity are compiled for compute capability 8.x alone."""


def two_four_reason(shape: LayerShape, device: torch.device) -> str | None:
    """Why torch cannot compute 2:4 sparsity on this device, as a sentence; None where it can."""
    if device.type != "cuda":
        return f"2:4 sparsity is computed by NVIDIA's sparse tensor cores; a {device.type} has none"
    major, _ = torch.cuda.get_device_capability(device)
    if major < CUTLASS_MAJOR:
        return "2:4 sparsity needs an NVIDIA GPU of compute capability 8.0 (Ampere) or newer"
    if not has_cusparselt() and major != CUTLASS_MAJOR:
        return (
            "torch was built without cuSPARSELt, and its CUTLASS kernels for 2:4 sparsity run on compute "
            f"capability 8.x alone, not on {major}.x"
        )
    constraints = _expected_class()._DTYPE_SHAPE_CONSTRAINTS[STORAGE_DTYPES[shape.precision]]
    rows, columns = constraints.sparse_min_rows, constraints.sparse_min_cols
    if shape.out_features % rows or shape.in_features % columns:
        sides = f"{shape.out_features} x {shape.in_features}"
        return f"this torch takes 2:4 weights of multiples of {rows} x {columns}; this one is {sides}"
    return None


def has_cusparselt() -> bool:
    """Whether this torch can call cuSPARSELt."""
    return torch.backends.cusparselt.is_available()


def _expected_class() -> Any:  # noqa: ANN401  (a tensor subclass that torch keeps private)
    from torch.sparse import SparseSemiStructuredTensorCUSPARSELT, SparseSemiStructuredTensorCUTLASS

    return SparseSemiStructuredTensorCUSPARSELT if has_cusparselt() else SparseSemiStructuredTensorCUTLASS


def pruned(weight: torch.Tensor) -> torch.Tensor:
    """The weight with the two smaller of each four neighbours in a row as zeros: the nearest 2:4 matrix.

    Raises:
        UsageError: the rows are no multiple of four.
    """
    if weight.shape[-1] % 4:
        raise UsageError(f"rows of {weight.shape[-1]} weights are no groups of four")
    groups = weight.reshape(*weight.shape[:-1], -1, 4)
    kept = groups.abs().topk(2, dim=-1).indices
    mask = torch.zeros_like(groups, dtype=torch.bool).scatter_(-1, kept, True)
    return (groups * mask).reshape(weight.shape)


class TwoFourLayer(nn.Module):
    """A layer with a 2:4 weight; frozen, it multiplies with torch's compressed copy of it.

    Not frozen, it multiplies with the pruned weight densely, which is its definition on every device.

    Attributes:
        weight: Parameter of shape (out_features, in_features), of which the pruned part is used.
        backend: `cusparselt` or `cutlass` once frozen; None before.
    """

    def __init__(self, in_features: int, out_features: int, layout: Layout = "batch_first") -> None:
        super().__init__()
        self.layout = layout
        self.weight = nn.Parameter(torch.empty(out_features, in_features))
        self.backend: str | None = None
        self._compressed: Any = None
        self._algorithms: dict[int, int] = {}
        """cuSPARSELt's fastest algorithm for each batch."""

    def freeze(self) -> TwoFourLayer:
        """Compress the present weight; returns the layer.

        Raises:
            UnsupportedError: torch would use another backend than it should.
        """
        self._compressed = torch.sparse.to_sparse_semi_structured(pruned(self.weight.detach()))
        expected = _expected_class()
        if type(self._compressed) is not expected:
            found = type(self._compressed).__name__
            raise UnsupportedError(f"torch compressed the weight as {found}, not as {expected.__name__}")
        self.backend = expected.BACKEND
        return self

    def unfreeze(self) -> TwoFourLayer:
        """Multiply with the weight as it is at each call again; returns the layer."""
        self._compressed, self.backend = None, None
        self._algorithms.clear()
        return self

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The product; in `batch_first` with the copy that torch's transposed result needs."""
        if self._compressed is None:
            weight = pruned(self.weight)
            return x @ weight.t() if self.layout == "batch_first" else weight @ x
        columns = x.t() if self.layout == "batch_first" else x
        if self.backend == "cusparselt":
            self._compressed.alg_id_cusparselt = self._algorithm(columns)
        y = torch.mm(self._compressed, columns)
        return y.t().contiguous() if self.layout == "batch_first" else y

    def _algorithm(self, columns: torch.Tensor) -> int:
        """The algorithm that cuSPARSELt's own search finds fastest for this batch, on first use."""
        batch = columns.shape[1]
        if batch not in self._algorithms:
            self._algorithms[batch] = int(torch._cslt_sparse_mm_search(self._compressed.packed, columns))
        return self._algorithms[batch]

    def __deepcopy__(self, memo: dict[int, Any]) -> TwoFourLayer:
        """A layer of its own, not frozen."""
        copied = TwoFourLayer(self.weight.shape[1], self.weight.shape[0], self.layout)
        copied.weight = nn.Parameter(self.weight.detach().clone(), requires_grad=False)
        return copied.train(self.training)
