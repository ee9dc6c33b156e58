"""`STLinear`: a linear layer by the Strassen-Tile operator (arXiv 2503.12211)."""

from __future__ import annotations

from math import sqrt
from typing import Any

import torch
from torch import nn

from kswatch.errors import UnsupportedError, UsageError
from kswatch.kernels.catalogue import implementation
from kswatch.kernels.families.stl import ONE_PASS, STOCK, one_pass_reason
from kswatch.kernels.family_layers.tiles import padded, tiles_of, untiled
from kswatch.kernels.fused.cpu_twin import one_pass
from kswatch.kernels.layer.algorithm_choice import AUTO, MEASURE
from kswatch.kernels.layer.factor import KSFactor
from kswatch.kernels.layer.prepared_products import PRECISION_OF
from kswatch.kernels.pattern import Pattern
from kswatch.kernels.problem import LAYOUTS, Layout

FUSED = "fused"


class STLinear(nn.Module):
    """Y_ij = D Σ_l (E_X X_il) ⊙ Ŵ_lj + bias over tiles X_il and Y_ij of t x t, with r channels.

    A tile mixes t rows of X: the rows of one tile see each other, so that a row's output depends on its
    neighbours. In a causal model the rows of a tile must come from different sequences (tile over the batch).
    Rows are padded with zeros to a multiple of t: a batch of 1 costs as much as one of t.

    The core product is Kronecker-sparse with pattern (1, m/t, k/t, r) and is computed by any implementation;
    `stl_bmm` is the layer as an expert writes it with stock torch, without that pattern's permutations:
    gather, one product to encode, `torch.bmm` over the channels, one product to decode, scatter.
    `stl_one_pass` does all in one pass on a CPU (fp32, `batch_first`, t = 4, r = 16, 24 or 32); where a
    gradient is wanted the core is computed by `fused` instead.

    Takes (..., in_features) in `batch_first`, (in_features, ...) in `batch_last`; the other axes are
    flattened to rows.

    Attributes:
        encoder: Parameter E_X of shape (r, t²).
        core: The factor; its `weight` of shape (1, m/t, k/t, r) holds Ŵ, encoded, Ŵ_lj in [0, j, l].
        decoder: Parameter D of shape (t², r).
        bias: Parameter of shape (out_features,), or None.

    Raises:
        UsageError: the tile does not divide both sides, or the algorithm or layout is unknown.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        tile: int = 4,
        rank: int = 24,
        bias: bool = False,
        algorithm: str = AUTO,
        layout: Layout = "batch_first",
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        if min(tile, rank, in_features, out_features) < 1 or in_features % tile or out_features % tile:
            sides = f"{in_features} -> {out_features}"
            raise UsageError(
                f"STLinear {sides}: sides, tile {tile} and rank {rank} must be >= 1, and sides "
                "multiples of the tile"
            )
        if layout not in LAYOUTS:
            raise UsageError(f"unknown layout {layout!r}; choose from {', '.join(LAYOUTS)}")
        if algorithm not in (AUTO, MEASURE, STOCK, ONE_PASS):
            implementation(algorithm)
        dtype = dtype or torch.get_default_dtype()
        self.in_features, self.out_features, self.tile, self.rank = in_features, out_features, tile, rank
        self.algorithm, self.layout = algorithm, layout
        pattern = Pattern(1, out_features // tile, in_features // tile, rank)
        self.encoder = nn.Parameter(torch.empty(rank, tile**2, device=device, dtype=dtype))
        self.core = KSFactor(pattern, device, dtype)
        self.decoder = nn.Parameter(torch.empty(tile**2, rank, device=device, dtype=dtype))
        self.bias = nn.Parameter(torch.empty(out_features, device=device, dtype=dtype)) if bias else None
        self._channels: torch.Tensor | None = None
        """Ŵ as (r, k/t, m/t) for `stl_bmm`, or packed for `stl_one_pass`, while frozen."""
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw new parameters, so that the outputs' variance is a third of the inputs', as in `nn.Linear`."""
        for parameter, terms in self.summed_terms():
            variance = (1 / 3 if parameter is self.decoder else 1.0) / terms
            nn.init.uniform_(parameter, -sqrt(3 * variance), sqrt(3 * variance))
        if self.bias is not None:
            bound = sqrt(1 / self.in_features)
            nn.init.uniform_(self.bias, -bound, bound)

    def summed_terms(self) -> list[tuple[nn.Parameter, int]]:
        """Each parameter but the bias, with the number of its products in one sum."""
        weight: Any = self.core.weight
        terms = (self.tile**2, self.core.pattern.c, self.rank)
        return list(zip((self.encoder, weight, self.decoder), terms, strict=True))

    @classmethod
    def from_linear(
        cls,
        linear: nn.Linear,
        encoder: torch.Tensor,
        weight_encoder: torch.Tensor,
        decoder: torch.Tensor,
        algorithm: str = AUTO,
        layout: Layout = "batch_first",
    ) -> STLinear:
        """The layer with given E_X, D and the weight encoded by E_W: exact where they multiply tiles exactly.

        Args:
            linear: An `nn.Linear`.
            encoder: E_X of shape (r, t²).
            weight_encoder: E_W of shape (r, t²), applied to tiles of Wᵀ (in_features x out_features).
            decoder: D of shape (t², r).
            algorithm: As in `STLinear`.
            layout: As in `STLinear`.

        Raises:
            UsageError: the matrices' shapes differ from these, or the tile does not divide the sides.
        """
        rank, squared = encoder.shape
        tile = round(squared**0.5)
        if tile**2 != squared or weight_encoder.shape != (rank, squared) or decoder.shape != (squared, rank):
            raise UsageError(
                f"encoders {tuple(encoder.shape)}, {tuple(weight_encoder.shape)} and decoder "
                f"{tuple(decoder.shape)} are not of shapes (r, t²), (r, t²), (t², r)"
            )
        dtype, device = linear.weight.dtype, linear.weight.device
        sides = linear.in_features, linear.out_features
        layer = cls(*sides, tile, rank, linear.bias is not None, algorithm, layout, device, dtype)
        tiles = tiles_of(linear.weight.detach().t().double().contiguous(), tile, "batch_first")
        encoded = tiles.flatten(2) @ weight_encoder.to(device, torch.float64).t()  # (k/t, m/t, r)
        values = {"encoder": encoder, "decoder": decoder, "core.weight": encoded.transpose(0, 1)[None]}
        if linear.bias is not None:
            values["bias"] = linear.bias.detach()
        layer.load_state_dict({name: value.to(device, dtype) for name, value in values.items()})
        return layer.train(linear.training)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The layer applied to x.

        Raises:
            UsageError: x has another number of features, or a dtype or device that differs from the weights'.
            UnsupportedError: the algorithm cannot compute the core here.
        """
        features_last = self.layout == "batch_first"
        if not x.dim() or x.shape[-1 if features_last else 0] != self.in_features:
            raise UsageError(
                f"STLinear takes {self.in_features} features on axis {-1 if features_last else 0} in "
                f"{self.layout}; the input has shape {tuple(x.shape)}"
            )
        flat = _as_matrix(x, features_last)
        rows = flat.shape[0 if features_last else 1]
        if self.algorithm == ONE_PASS and not self._wants_gradient(x):
            y = self._in_one_pass(flat)
        else:
            y = self.decode(self.multiply(self.encode(flat)), rows)
        if self.bias is not None:
            y = y + (self.bias if features_last else self.bias[:, None])
        shape = (*x.shape[:-1], self.out_features) if features_last else (self.out_features, *x.shape[1:])
        return y.view(shape)

    def _wants_gradient(self, x: torch.Tensor) -> bool:
        own = (x, *self.parameters(recurse=True))
        return torch.is_grad_enabled() and any(one.requires_grad for one in own)

    def _require_one_pass(self) -> None:
        """Check all that the pass takes for granted about the memory of the weights."""
        weight: Any = self.core.weight
        precision = PRECISION_OF.get(weight.dtype, "fp64")
        if reason := one_pass_reason((self.tile, self.rank), precision, self.layout, weight.device.type):
            raise UnsupportedError(reason)

    def _in_one_pass(self, x: torch.Tensor) -> torch.Tensor:
        self._require_one_pass()
        weight: Any = self.core.weight
        if (x.dtype, x.device) != (weight.dtype, weight.device):
            raise UsageError(
                f"the input is {x.dtype} on {x.device}, the layer's weights are {weight.dtype} on "
                f"{weight.device}; use .to()"
            )
        packed = one_pass.pack(weight) if self._channels is None else self._channels
        return one_pass.multiply(packed, self.encoder, self.decoder, x, self.out_features)

    def encode(self, x: torch.Tensor) -> torch.Tensor:
        """The channels of each tile of X, (rows, k) or (k, rows): the core's input.

        Of shape (n/t, k/t·r) or (k/t·r, n/t) with the channel fastest; (r, n/t, k/t) by `stl_bmm`.
        """
        tiles = tiles_of(padded(x, self.tile, self.layout).contiguous(), self.tile, self.layout)
        across, along, tile, _ = tiles.shape
        if self.algorithm == STOCK:
            encoded = self.encoder @ tiles.permute(2, 3, 0, 1).reshape(tile**2, across * along)
            return encoded.view(self.rank, across, along)
        if self.layout == "batch_first":
            encoded = tiles.reshape(-1, tile**2) @ self.encoder.t()
            return encoded.view(across, along * self.rank)
        encoded = self.encoder @ tiles.permute(1, 2, 3, 0).reshape(along, tile**2, across)
        return encoded.reshape(along * self.rank, across)

    def multiply(self, encoded: torch.Tensor) -> torch.Tensor:
        """The core product, with shapes as in `encode` and m in place of k."""
        if self.algorithm == STOCK:
            return torch.bmm(encoded, self._weight_by_channel() if self._channels is None else self._channels)
        return self.core(encoded, FUSED if self.algorithm == ONE_PASS else self.algorithm, self.layout)

    def decode(self, product: torch.Tensor, rows: int) -> torch.Tensor:
        """Y, (rows, m) or (m, rows), of the core's output."""
        outputs, tile = self.out_features // self.tile, self.tile
        if self.algorithm == STOCK:
            decoded = self.decoder @ product.view(self.rank, -1 if product.numel() else 0)
            tiles = decoded.view(tile, tile, product.shape[1], outputs).permute(2, 3, 0, 1)
        elif self.layout == "batch_first":
            decoded = product.view(-1, self.rank) @ self.decoder.t()
            tiles = decoded.view(product.shape[0], outputs, tile, tile)
        else:
            decoded = self.decoder @ product.view(outputs, self.rank, product.shape[1])
            tiles = decoded.view(outputs, tile, tile, product.shape[1]).permute(3, 0, 1, 2)
        return untiled(tiles, rows, self.layout)

    def _weight_by_channel(self) -> torch.Tensor:
        weight: Any = self.core.weight
        return weight[0].permute(2, 1, 0).contiguous()

    def freeze(self) -> STLinear:
        """Keep the core's laid-out weights until `unfreeze`, as `KSLinear.freeze` does; returns the layer."""
        if self.algorithm == STOCK:
            self._channels = self._weight_by_channel().detach()
        elif self.algorithm == ONE_PASS:
            self._require_one_pass()
            self._channels = one_pass.pack(self.core.weight)
        else:
            self.core.kept.freeze(self.core.weight, None)
        return self

    def unfreeze(self) -> STLinear:
        """Compute with the weights as they are at each call again; returns the layer."""
        self._channels = None
        self.core.kept.clear()
        return self

    def __getstate__(self) -> dict[str, Any]:
        """For copies and pickles: they are not frozen."""
        return {**vars(self), "_channels": None}

    def _apply(self, fn: Any, recurse: bool = True) -> STLinear:  # noqa: ANN401
        """Called by `.to()`, `.cuda()`, `.half()`; drops what is kept for the previous weights."""
        self._channels = None
        return super()._apply(fn, recurse)

    def _load_from_state_dict(self, *arguments: Any) -> None:  # noqa: ANN401
        """The same for weights that are replaced."""
        self._channels = None
        super()._load_from_state_dict(*arguments)

    def extra_repr(self) -> str:
        """The arguments, for `print`."""
        sizes = f"{self.in_features}, {self.out_features}, tile={self.tile}, rank={self.rank}"
        return f"{sizes}, bias={self.bias is not None}, algorithm={self.algorithm!r}, layout={self.layout!r}"


def _as_matrix(x: torch.Tensor, features_last: bool) -> torch.Tensor:
    """All axes but that of the features as one."""
    if x.dim() == 1:
        return x[None] if features_last else x[:, None]
    return x.flatten(0, -2) if features_last else x.flatten(1)
