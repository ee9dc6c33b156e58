"""Two factors of a layer in one launch of a GPU: prepared for frozen weights, else laid out at each call."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, partial

import torch

from kswatch.declared.implementations import FUSED_CHAIN
from kswatch.kernels.fused.cuda_chain import launch
from kswatch.kernels.fused.cuda_chain.tile import Problems
from kswatch.kernels.implementation import Product
from kswatch.kernels.layer.prepared_products import MAX_CLOSURES, Kept, LaidOutWeight

_live_chain = lru_cache(maxsize=1024)(launch.live_product)


def is_chosen(problems: Problems, device: torch.device, algorithm: str) -> bool:
    """Whether a layer takes one launch: wherever that is possible if it is named, else where it pays."""
    if algorithm == FUSED_CHAIN:
        return launch.unsupported(problems, device) is None
    return launch.pays(problems, device)


def product(
    kept: tuple[Kept, Kept], weights: tuple[torch.Tensor, torch.Tensor], problems: Problems
) -> tuple[Callable[[torch.Tensor, torch.Tensor | None], torch.Tensor], LaidOutWeight | None] | None:
    """`product(x, bias) -> K2 K1 x + bias` for a contiguous x, and the first weight's copy if it is frozen.

    None where only one of the weights is frozen.

    Args:
        kept: What both factors keep of their weights.
        weights: Of both, in the dtype of x.
        problems: Both products.
    """
    first, second = (one.valid_copy(weight) for one, weight in zip(kept, weights, strict=True))
    if first is None and second is None:
        present = weights[0].contiguous(), weights[1].contiguous()
        return partial(_live_chain(problems, weights[0].device), present), None
    if first is None or second is None:
        return None
    frozen = kept[1].chain
    if frozen is None or frozen.copies[0] is not first or frozen.copies[1] is not second:
        frozen = kept[1].chain = FrozenChain((first, second))
    return lambda x, bias: frozen.product(problems, bias)(x), first


class FrozenChain:
    """The products of two copies of weights, which it keeps alive until the copies are replaced."""

    def __init__(self, copies: tuple[LaidOutWeight, LaidOutWeight]) -> None:
        self.copies = copies
        self._products: dict[Problems, tuple[Product, torch.Tensor | None]] = {}
        """Each with the bias that it adds."""

    def product(self, problems: Problems, bias: torch.Tensor | None) -> Product:
        """The product of these problems with this bias, made at its first call."""
        found = self._products.get(problems)
        if found is None or found[1] is not bias:
            if len(self._products) >= MAX_CLOSURES:
                self._products.clear()
            weights = self.copies[0].weight, self.copies[1].weight
            found = self._products[problems] = launch.prepare(problems, weights, bias), bias
        return found[0]
