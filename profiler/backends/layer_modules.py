"""The cells of a layer as torch modules, each checked against float64 with its own rounded weights."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from kswatch.kernels.families.base import LayerShape
from kswatch.kernels.family_layers.build import build_layer, make_input, reference, unsupported_reason
from kswatch.kernels.reference import Correctness, relative_limit
from kswatch.profiler.backends.errors_of_output import compare
from kswatch.profiler.subjects.layer_cells import LayerCell

CHECKED_FLOPS = 2_000_000_000
"""Operations of the float64 reference; of larger batches only the first and the last rows are compared."""
GRAIN = 64
"""Rows are left out in multiples of this, so that tiles of rows stay whole."""
COMPARED_WITH = "bmm"


class LayerModules:
    """The modules of one layer; all cells of a structure have equal weights."""

    def __init__(self, shape: LayerShape, device: torch.device, seed: int) -> None:
        self.problem = shape
        self._device = device
        self._seed = seed
        self._bmm_errors: dict[str, float] = {}

    def unsupported(self, cell: LayerCell) -> str | None:
        """See `Modules`."""
        return unsupported_reason(cell.structure, self.problem, cell.implementation, self._device)

    def make_input(self) -> torch.Tensor:
        """See `Modules`."""
        return make_input(self.problem, torch.Generator().manual_seed(self._seed), self._device)

    def build(self, cell: LayerCell) -> nn.Module:
        """See `Modules`."""
        generator = torch.Generator().manual_seed(self._seed + 1)
        return build_layer(
            cell.structure, self.problem, cell.implementation, generator=generator, device=self._device
        )

    def executed(self, module: nn.Module, x: torch.Tensor) -> tuple[Callable[[torch.Tensor], Any], None]:
        """See `Modules`; layers run eagerly."""
        del x
        return module, None

    def correctness(
        self, cell: LayerCell, module: nn.Module, x: torch.Tensor, y: torch.Tensor
    ) -> Correctness:
        """See `Modules`; all of y must be finite, its first and last rows near the reference."""
        rows = self._checked_rows(cell)
        truth = reference(module, self._rows(x, rows), self.problem.precision)
        limit = relative_limit(self.problem.precision)
        found = compare(y, self._rows(y, rows), truth, limit)
        if found.ok or cell.implementation == COMPARED_WITH or not torch.isfinite(y).all():
            return found
        # long chains round more in every library: twice the error of `bmm` is allowed as well
        limit = relative_limit(self.problem.precision, self._bmm_error(cell, x, rows, truth))
        return compare(y, self._rows(y, rows), truth, limit)

    def linear_share(self, module: nn.Module, x: torch.Tensor) -> None:
        """See `Modules`."""
        del module, x

    def _bmm_error(
        self, cell: LayerCell, x: torch.Tensor, rows: torch.Tensor | None, truth: torch.Tensor
    ) -> float | None:
        """The error of the same structure by `bmm`; None where that cannot compute it."""
        usual = LayerCell(cell.structure, COMPARED_WITH)
        if self.unsupported(usual) is not None:
            return None
        if str(cell.structure) not in self._bmm_errors:
            y = self.build(usual)(x)
            found = compare(y, self._rows(y, rows), truth, 0.0)
            self._bmm_errors[str(cell.structure)] = found.relative_error
        return self._bmm_errors[str(cell.structure)]

    def _checked_rows(self, cell: LayerCell) -> torch.Tensor | None:
        """Indices of the rows to compare; None for all."""
        batch = self.problem.batch
        a_row = max(1, cell.flops(self.problem) // batch)
        half = max(1, CHECKED_FLOPS // a_row // 2 // GRAIN) * GRAIN
        if 2 * half >= batch:
            return None
        tail = (batch - half) // GRAIN * GRAIN
        return torch.cat([torch.arange(half), torch.arange(tail, batch)]).to(self._device)

    def _rows(self, x: torch.Tensor, rows: torch.Tensor | None) -> torch.Tensor:
        if rows is None:
            return x
        return x.index_select(0 if self.problem.layout == "batch_first" else 1, rows)
