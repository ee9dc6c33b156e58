"""Products prepared for a weight, for as long as it is what it was."""

from __future__ import annotations

import weakref
from collections.abc import Callable

import torch
from torch.utils.weak import WeakTensorKeyDictionary

from kswatch.errors import UsageError
from kswatch.kernels.implementation import STORAGE_DTYPES, Product
from kswatch.kernels.layer.algorithm_choice import choose
from kswatch.kernels.pattern import Pattern
from kswatch.kernels.precision import allows_tf32
from kswatch.kernels.problem import Layout, Precision, Problem

PRECISION_OF: dict[torch.dtype, Precision] = {
    torch.float32: "fp32",
    torch.bfloat16: "bf16",
    torch.float16: "fp16",
}

KEPT = 8
"""Products that a weight is kept re-laid for, one copy each: some batch sizes, forwards and backwards."""

Question = tuple[str, int, Precision, Layout, bool]
"""Algorithm, batch, precision, layout, and whether Kᵀ is meant."""

State = tuple[int, int]
"""Where a parameter lies, and how often it was changed in place."""


class PreparedProducts:
    """The products of one weight of shape (a, b, c, d); let go when it is changed or replaced."""

    def __init__(self, weight: torch.Tensor | None = None) -> None:
        self._weight: Callable[[], torch.Tensor | None] = weakref.ref(weight) if weight is not None else _none
        self.forget()

    def forget(self) -> None:
        """Free the re-laid weights."""
        self._products: dict[Question, tuple[State | None, Product]] = {}
        """Each with the state of its bias, None where it has none."""
        self._weight_state: State | None = None

    def are_of(self, weight: torch.Tensor) -> bool:
        """Whether they were made for this very tensor."""
        return self._weight() is weight

    def product(self, weight: torch.Tensor, bias: torch.Tensor | None, question: Question) -> Product:
        """The product prepared earlier for the same question, weights and bias, or a new one.

        Raises:
            UnsupportedError: the algorithm cannot compute this product here.
        """
        weight_state = state_of(weight)
        if weight_state is None or weight_state != self._weight_state:
            self.forget()
            self._weight_state = weight_state
        bias_state = state_of(bias)
        kept = self._products.get(question)
        if kept is not None and kept[0] == bias_state and (bias is None or bias_state is not None):
            return kept[1]
        product = self._prepare(weight, bias, question)
        if len(self._products) == KEPT:
            del self._products[next(iter(self._products))]
        self._products[question] = bias_state, product
        return product

    def _prepare(self, weight: torch.Tensor, bias: torch.Tensor | None, question: Question) -> Product:
        algorithm, batch, precision, layout, transposed = question
        dtype = STORAGE_DTYPES[precision]
        weights = weight.detach().to(dtype)
        if transposed:
            weights = weights.transpose(1, 2).contiguous()
        problem = Problem(Pattern(*weights.shape), batch, precision, layout)
        implementation = choose(algorithm, problem, weights.device, weights)
        if bias is None:
            return implementation.prepare(problem, weights)
        return implementation.prepare_with_bias(problem, weights, bias.detach().to(dtype))

    def __reduce__(self) -> tuple[type[PreparedProducts], tuple[()]]:
        """Copied and pickled empty: a copy has weights of its own."""
        return PreparedProducts, ()


def _none() -> None:
    return None


def state_of(parameter: torch.Tensor | None) -> State | None:
    """None where there is no parameter, or torch does not count its changes."""
    if parameter is None or parameter.is_inference():
        return None
    return parameter.data_ptr(), parameter._version


_of_weight = WeakTensorKeyDictionary()


def prepared_for(weight: torch.Tensor) -> PreparedProducts:
    """The one holder of a tensor's products; it lives as long as the tensor."""
    prepared: PreparedProducts | None = _of_weight.get(weight)
    if prepared is None:
        prepared = _of_weight[weight] = PreparedProducts(weight)
    return prepared


def precision_of(dtype: torch.dtype, device: torch.device) -> Precision:
    """The precision of products of that dtype there, as torch's TF32 switch says.

    Raises:
        UsageError: there is none.
    """
    precision = PRECISION_OF.get(dtype)
    if precision == "fp32" and device.type == "cuda" and allows_tf32(device):
        return "tf32"
    if precision is None:
        names = ", ".join(str(known) for known in PRECISION_OF)
        raise UsageError(f"KSLinear computes in {names}, not in {dtype}; pass dtype=torch.float32")
    return precision
