"""The matrix of a chain of factors as a tensor, for code that reads `.weight` of a linear layer.

`nn.TransformerEncoderLayer`, `nn.MultiheadAttention` and others read `layer.weight`, for its dtype, device or
values. Shape, dtype and device cost nothing here; the first use of the values builds the matrix, with
gradients to the factors. It cannot be written to: that would change no factor.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NoReturn

import torch
from torch.utils._pytree import tree_leaves, tree_map_only

from kswatch.errors import UsageError
from kswatch.kernels.layer.projection import chain_matrix

_Tensor: Any = torch.Tensor
_PROPERTIES = ("shape", "dtype", "device", "layout", "ndim", "requires_grad", "is_leaf", "grad", "grad_fn")
_METADATA = {
    *(getattr(_Tensor, name).__get__ for name in (*_PROPERTIES, "is_cuda", "is_cpu", "is_meta", "is_nested")),
    *(
        _Tensor.size,
        _Tensor.dim,
        _Tensor.numel,
        _Tensor.is_floating_point,
        _Tensor.is_complex,
        _Tensor.__len__,
    ),
}
"""Functions of a tensor that need no values."""
_DETACHING = {_Tensor.detach, _Tensor.data.__get__}


class DenseWeight(torch.Tensor):
    """K_n ... K_1 of shape (features out, features in), built when its values are used.

    It is a tensor with a `__torch_function__`, so torch's fused transformer kernels, which would read the
    weight in place of calling the layer, leave it to the layer.
    """

    _weights: tuple[torch.Tensor, ...]

    @staticmethod
    def __new__(
        cls: type[DenseWeight], weights: Sequence[torch.Tensor], rows: int, columns: int
    ) -> DenseWeight:
        """The matrix of `weights`, each (a, b, c, d), right-most factor first."""
        dense: DenseWeight = torch.Tensor._make_wrapper_subclass(
            cls,
            (rows, columns),
            dtype=weights[0].dtype,
            device=weights[0].device,
            requires_grad=torch.is_grad_enabled() and any(weight.requires_grad for weight in weights),
        )
        dense._weights = tuple(weights)
        return dense

    def values(self) -> torch.Tensor:
        """The matrix as an ordinary tensor; half precision is multiplied in float32 and rounded once."""
        return dense_values(self._weights)

    @classmethod
    def __torch_function__(
        cls,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401
        """Metadata as they are; anything else with the matrix itself, except for writing to it."""
        del types
        kwargs = kwargs or {}
        if func in _METADATA:
            with torch._C.DisableTorchFunctionSubclass():
                return func(*args, **kwargs)
        if _writes(func, args, kwargs):
            refuse_to_write()
        if func in _DETACHING:
            (dense,) = args
            return DenseWeight([weight.detach() for weight in dense._weights], *dense.shape)
        args, kwargs = tree_map_only(DenseWeight, DenseWeight.values, (args, kwargs))
        return func(*args, **kwargs)

    @classmethod
    def __torch_dispatch__(  # type: ignore[override]
        cls,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401
        """The operator with the matrix itself, for callers that switch `__torch_function__` off."""
        del types
        args, kwargs = tree_map_only(DenseWeight, DenseWeight.values, (args, kwargs or {}))
        return func(*args, **kwargs)


class CompiledWeight(torch.Tensor):
    """The same for `torch.compile`, which drops the matrix where nothing uses it."""

    @classmethod
    def __torch_function__(
        cls,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401
        """The function of the ordinary tensor."""
        del types
        with torch._C.DisableTorchFunctionSubclass():
            return func(*args, **(kwargs or {}))


def dense_values(weights: Sequence[torch.Tensor]) -> torch.Tensor:
    """K_n ... K_1 in the dtype of the weights, rounded once."""
    dtype = weights[0].dtype
    exact = torch.float64 if dtype == torch.float64 else torch.float32
    return chain_matrix([weight.to(exact) for weight in weights]).to(dtype)


def dense_weight(weights: Sequence[torch.Tensor], rows: int, columns: int) -> torch.Tensor:
    """The matrix of factors as a `DenseWeight`; in `torch.compile`, a `CompiledWeight`."""
    if torch.compiler.is_dynamo_compiling():
        return dense_values(weights).as_subclass(CompiledWeight)
    return DenseWeight(weights, rows, columns)


def refuse_to_write() -> NoReturn:
    """Raise the sentence for any attempt to change the matrix."""
    raise UsageError(
        "KSLinear.weight is the product of the layer's factors and cannot be changed or hooked itself; "
        "change layer.factors[i].weight, or call layer.reset_parameters()"
    )


_IN_PLACE = {
    *(
        f"__i{name}__"
        for name in ("add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "and", "or", "xor")
    ),
    *("__ilshift__", "__irshift__", "__setitem__", "__set__", "__delete__", "retain_grad"),
    *("register_hook", "register_post_accumulate_grad_hook"),
}


def _writes(func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    """Whether a function changes a `DenseWeight`: in place, or as `out`."""
    name = getattr(func, "__name__", "")
    if name in _IN_PLACE or (name.endswith("_") and not name.endswith("__")):
        targets = args[0] if args else next(iter(kwargs.values()), None)
        return any(isinstance(leaf, DenseWeight) for leaf in tree_leaves(targets))
    return any(isinstance(leaf, DenseWeight) for leaf in tree_leaves(kwargs.get("out")))
