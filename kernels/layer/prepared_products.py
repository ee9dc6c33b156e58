"""Products prepared for a weight, kept until the weight changes."""

from __future__ import annotations

import torch
from torch.utils.weak import WeakTensorKeyDictionary

from kswatch.errors import UsageError
from kswatch.kernels.implementation import STORAGE_DTYPES, Product
from kswatch.kernels.layer.algorithm_choice import choose
from kswatch.kernels.pattern import Pattern
from kswatch.kernels.precision import allows_tf32
from kswatch.kernels.problem import PRECISIONS, Layout, Precision, Problem

PRECISION_OF = {STORAGE_DTYPES[precision]: precision for precision in PRECISIONS if precision != "tf32"}

MAX_PREPARED = 8
"""Products kept for a weight, each with a re-laid copy: a few batch sizes, forward and backward."""

ProductKey = tuple[str, int, Precision, Layout, bool]
"""Algorithm, batch, precision, layout, and whether it is the product with Kᵀ."""

ParameterState = tuple[int, int]
"""The address of a parameter, and its count of in-place changes."""


class PreparedProducts:
    """The products of one weight of shape (a, b, c, d); dropped when it is changed."""

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """Free the re-laid weights."""
        self._products: dict[ProductKey, tuple[ParameterState | None, Product]] = {}
        """Each product with the state of its bias, None where it has none."""
        self._weight_state: ParameterState | None = None

    def product(self, weight: torch.Tensor, bias: torch.Tensor | None, key: ProductKey) -> Product:
        """The product prepared earlier for the same key, weights and bias, or a new one.

        Raises:
            UnsupportedError: the algorithm cannot compute this product here.
        """
        weight_state = parameter_state(weight)
        if weight_state is None or weight_state != self._weight_state:
            self.clear()
            self._weight_state = weight_state
        bias_state = parameter_state(bias)
        kept = self._products.get(key)
        if kept is not None and kept[0] == bias_state and (bias is None or bias_state is not None):
            return kept[1]
        product = self._prepare(weight, bias, key)
        if len(self._products) == MAX_PREPARED:
            del self._products[next(iter(self._products))]
        self._products[key] = bias_state, product
        return product

    def _prepare(self, weight: torch.Tensor, bias: torch.Tensor | None, key: ProductKey) -> Product:
        algorithm, batch, precision, layout, transposed = key
        dtype = STORAGE_DTYPES[precision]
        weights = weight.detach().to(dtype)
        if transposed:
            weights = weights.transpose(1, 2).contiguous()
        problem = Problem(Pattern(*weights.shape), batch, precision, layout)
        implementation = choose(algorithm, problem, weights.device, weights)
        if bias is None:
            return implementation.prepare(problem, weights)
        return implementation.prepare_with_bias(problem, weights, bias.detach().to(dtype))


def parameter_state(parameter: torch.Tensor | None) -> ParameterState | None:
    """Address and version of a parameter; None without one, or where torch does not count its changes."""
    if parameter is None or parameter.is_inference():
        return None
    return parameter.data_ptr(), parameter._version


_by_weight = WeakTensorKeyDictionary()


def prepared_for(weight: torch.Tensor) -> PreparedProducts:
    """The prepared products of a tensor, which live as long as the tensor."""
    prepared: PreparedProducts | None = _by_weight.get(weight)
    if prepared is None:
        prepared = _by_weight[weight] = PreparedProducts()
    return prepared


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
