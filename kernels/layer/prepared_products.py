"""The products of a weight as it is now: laid out for each call, or kept with a proof that nothing changed.

There is no sign of every change of a tensor's memory: torch's counter of in-place changes misses fused
optimisers, collectives, `.data`, NumPy views and other processes. So laid-out weights are reused only after
every byte of the weight was compared with the copy that they were made from, or for a frozen layer.
"""

from __future__ import annotations

import ctypes
import weakref
from collections.abc import Hashable
from typing import Any

import torch
from torch import nn

from kswatch.declared.precisions import SUITE_PRECISIONS
from kswatch.errors import UsageError
from kswatch.kernels.implementation import (
    STORAGE_DTYPES,
    WEIGHT_DTYPES,
    Implementation,
    LiveProduct,
    Product,
)
from kswatch.kernels.layer.algorithm_choice import choose
from kswatch.kernels.pattern import Pattern
from kswatch.kernels.precision import allows_tf32
from kswatch.kernels.problem import Layout, Precision, Problem

PRECISION_OF: dict[torch.dtype, Precision] = {
    STORAGE_DTYPES[precision]: precision for precision in SUITE_PRECISIONS if precision != "tf32"
}

MAX_CLOSURES = 64
"""Products kept per weight: closures of a few hundred bytes over laid-out weights that they share."""

ProductKey = tuple[str, int, Precision, Layout, bool]
"""Algorithm, batch, precision, layout, and whether it is the product with Kᵀ."""


class LaidOutWeight:
    """A copy of a weight of shape (a, b, c, d), and its products."""

    def __init__(self, weight: torch.Tensor) -> None:
        self.weight = weight
        self._laid_out: dict[Hashable, Any] = {}
        """Shared by all batches that read the weights in the same order."""
        self._products: dict[ProductKey, tuple[Product, torch.Tensor | None]] = {}
        """Each with the bias that it adds, on a GPU."""

    def multiply(self, x: torch.Tensor, bias: torch.Tensor | None, key: ProductKey) -> torch.Tensor:
        """The product with x, plus the bias, which on a GPU the product itself adds.

        Raises:
            UnsupportedError: the algorithm cannot compute this product here.
        """
        added = bias if self.weight.is_cuda else None
        made = self._products.get(key)
        if made is None or made[1] is not added:
            if len(self._products) >= MAX_CLOSURES:
                self._products.clear()
            made = self._products[key] = self._product(key, added), added
        y = made[0](x)
        if bias is None or added is not None:
            return y
        return y.add_((bias if key[3] == "batch_first" else bias[:, None]).to(y.dtype))

    def _product(self, key: ProductKey, bias: torch.Tensor | None) -> Product:
        implementation, problem = chosen(self.weight, key)
        if bias is None:
            return implementation.product(problem, self.laid_out_for(implementation, problem, key[-1]))
        dtype = STORAGE_DTYPES[problem.precision]
        weights = self.weight.to(dtype)
        weights = weights.transpose(1, 2).contiguous() if key[-1] else weights
        return implementation.prepare_with_bias(problem, weights, bias.to(dtype))

    def laid_out_for(self, implementation: Implementation, problem: Problem, transposed: bool = False) -> Any:  # noqa: ANN401
        """The weights as the products of an implementation read them, shared by all batches."""
        order = implementation.weight_order(problem, self.weight.device)
        key = (implementation.name, problem.precision, problem.layout, transposed, order)
        laid_out = self._laid_out.get(key)
        if laid_out is None:
            weights = self.weight.to(WEIGHT_DTYPES[problem.precision])
            laid_out = self._laid_out[key] = implementation.lay_out(problem, weights, transposed)
        return laid_out


def chosen(weight: torch.Tensor, key: ProductKey) -> tuple[Implementation, Problem]:
    """The implementation and the problem of a product of this weight."""
    algorithm, batch, precision, layout, transposed = key
    a, b, c, d = weight.shape
    problem = Problem(Pattern(a, c, b, d) if transposed else Pattern(a, b, c, d), batch, precision, layout)
    return choose(
        algorithm, problem, weight.device, weight.transpose(1, 2) if transposed else weight
    ), problem


class Kept:
    """What a factor keeps of its weight: a copy, with what was made from it. Copied and pickled as empty."""

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """Free the copy; a frozen weight is no longer frozen."""
        self.copy: LaidOutWeight | None = None
        self.source: torch.Tensor | None = None
        """The weight that is frozen: its copy is used in place of it, without being compared."""
        self.frozen_bias: tuple[torch.Tensor | None, torch.Tensor | None] = None, None
        """The bias that is frozen, and its copy."""
        self.scaled: Any = None
        """The weight that is frozen in fp8, a `ScaledWeight`, in place of `copy`."""
        self.other_biases: list[tuple[weakref.ref[torch.Tensor], torch.Tensor]] = []
        """The same for other layers with this factor."""
        self.live: dict[Hashable, LiveProduct] = {}
        """Products that read weights where they lie and hold none."""
        self.chain: Any = None
        """The products of this factor and the one before it in one pass: a `Chain` of `chain.product`."""
        self.chain_problems: dict[Hashable, Any] = {}
        """The problems of each kind of chain; None where the two are multiplied one after the other."""

    def freeze(self, weight: torch.Tensor, bias: torch.Tensor | None, scaled: Any = None) -> None:  # noqa: ANN401
        """Use copies in place of these tensors from now on; `scaled`, in place of a copy of the weight."""
        copy = None if scaled else LaidOutWeight(copied(weight))
        others = self._biases_besides(weight, bias)
        self.clear()
        self.scaled = scaled
        self.other_biases = others
        self.frozen_bias = bias, None if bias is None else copied(bias)
        self.copy, self.source = copy, weight

    def _biases_besides(
        self, weight: torch.Tensor, bias: torch.Tensor | None
    ) -> list[tuple[weakref.ref[torch.Tensor], torch.Tensor]]:
        """What is frozen with the same weight for other layers, as far as those still exist."""
        if self.source is not weight:
            return []
        source, copy = self.frozen_bias
        known = list(self.other_biases)
        if source is not None and copy is not None:
            known.append((weakref.ref(source), copy))
        return [pair for pair in known if pair[0]() is not None and pair[0]() is not bias]

    def valid_copy(self, weight: torch.Tensor) -> LaidOutWeight | None:
        """The copy, if it may be used in place of a weight; a local, since other threads may replace it."""
        source, copy = self.source, self.copy  # in this order: a copy from before `freeze` must be compared
        if copy is None or source is weight:
            return copy
        # other tensors in place of a frozen weight, by `functional_call` or assignment, are used as they are
        return copy if source is None and have_equal_bytes(weight, copy.weight) else None

    def copy_of(self, weight: torch.Tensor) -> LaidOutWeight | None:
        """The valid copy, made where the weight can be compared with it; None for substituted weights."""
        copy = self.valid_copy(weight)
        if copy is None and self.source is None and _is_comparable(weight):
            copy = self.copy = LaidOutWeight(copied(weight))
        return copy

    def present_weight(self, weight: torch.Tensor) -> torch.Tensor:
        """A weight, or its copy if it is frozen."""
        source, copy = self.source, self.copy
        return copy.weight if copy is not None and source is weight else weight

    def present_bias(self, bias: torch.Tensor | None) -> torch.Tensor | None:
        """A bias, or its copy if it is frozen."""
        source, copy = self.frozen_bias
        if source is bias:
            return copy
        return next((copy for other, copy in self.other_biases if other() is bias), bias)

    def __reduce__(self) -> tuple[type[Kept], tuple[()]]:
        """A copied or unpickled layer has weights of its own."""
        return Kept, ()


def copied(weight: torch.Tensor) -> torch.Tensor:
    """A copy that autograd may save, also where it was made in inference mode."""
    with torch.inference_mode(False):
        return weight.detach().resolve_neg().clone(memory_format=torch.contiguous_format)


def multiply_present(
    weight: torch.Tensor, bias: torch.Tensor | None, x: torch.Tensor, key: ProductKey, kept: Kept | None
) -> torch.Tensor:
    """The product with the weight's present values, or with those that are frozen, plus the bias.

    Args:
        weight: Of shape (a, b, c, d).
        bias: One value for each feature of Y, of any dtype, or None.
        x: The contiguous input.
        key: The product.
        kept: What is kept of the weight, and where to keep more; None where it is about to change.

    Raises:
        UnsupportedError: the algorithm cannot compute this product here.
    """
    if kept is not None and (copy := kept.valid_copy(weight)) is not None:
        return copy.multiply(x, bias, key)
    live_key = key, weight.shape, weight.dtype, weight.device
    live = None if kept is None else kept.live.get(live_key)
    if live is not None and weight.is_contiguous() and not weight.is_neg():
        return live(weight.detach(), x, bias)
    implementation, problem = chosen(weight, key)
    if (
        kept is not None
        and kept.source is None
        and _is_worth_keeping(weight, implementation, problem, key[-1])
    ):
        kept.copy = copy = LaidOutWeight(copied(weight))
        return copy.multiply(x, bias, key)
    present = weight.detach().to(x.dtype).resolve_neg().contiguous()
    live = implementation.live_product(problem, x.device, key[-1])
    if kept is not None and weight.dtype == x.dtype and implementation.reads_in_place(problem, key[-1]):
        kept.live = {live_key: live} if len(kept.live) >= MAX_CLOSURES else {**kept.live, live_key: live}
    return live(present, x, bias)


def _is_worth_keeping(
    weight: torch.Tensor, implementation: Implementation, problem: Problem, transposed: bool
) -> bool:
    """Whether the weight is likely to be used again, where comparing bytes costs less than laying it out."""
    is_stored_so = weight.dtype == STORAGE_DTYPES[problem.precision]
    return _is_comparable(weight) and not (
        is_stored_so and implementation.reads_in_place(problem, transposed)
    )


def _is_comparable(weight: torch.Tensor) -> bool:
    """Whether the weight is likely to be used again, and its bytes can be compared then."""
    is_parameter = isinstance(weight, nn.Parameter) and weight.device.type == "cpu"
    return is_parameter and weight.is_contiguous() and not weight.is_neg()


def have_equal_bytes(weight: torch.Tensor, copy: torch.Tensor) -> bool:
    """Whether two tensors hold the same bytes: -0 differs from 0, and a NaN equals itself."""
    if (
        weight.shape != copy.shape
        or weight.dtype != copy.dtype
        or weight.device != copy.device
        or not weight.is_contiguous()
        or weight.is_neg()
    ):
        return False
    return not _compare_bytes(weight.data_ptr(), copy.data_ptr(), copy.nbytes)


_compare_bytes = ctypes.CDLL(None).memcmp
_compare_bytes.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t]


# ---- precisions -----------------------------------------------------------------------------------


def precision_of(dtype: torch.dtype, device: torch.device) -> Precision:
    """The precision of products of a dtype on a device; float32 follows torch's TF32 switch.

    Raises:
        UsageError: no precision has this dtype.
    """
    precision = PRECISION_OF.get(dtype)
    if precision == "fp32" and device.type == "cuda" and allows_tf32(device):
        return "tf32"
    if precision is None:
        names = ", ".join(str(known) for known in PRECISION_OF)
        raise UsageError(f"KSLinear computes in {names}, not in {dtype}; pass dtype=torch.float32")
    return precision
