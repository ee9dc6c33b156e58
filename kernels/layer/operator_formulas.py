"""`torch.ops.kswatch.product` for torch's tools: its definition by torch's own operators, its FLOPs.

`DECOMPOSITIONS` is for `ExportedProgram.run_decompositions`. The same is in torch's global table, from which
`torch.onnx.export` takes what it cannot translate; `torch.compile` and `torch.export` do not read that table.
"""

from __future__ import annotations

from collections.abc import Callable
from math import prod

import torch
from torch._decomp import decomposition_table
from torch.utils.flop_counter import flop_registry, register_flop_formula

from kswatch.kernels.layer.torch_operator import product
from kswatch.kernels.problem import Layout


def define_product(
    x: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor | None,
    transposed: bool,
    algorithm: str,
    layout: Layout,
) -> torch.Tensor:
    """The product as a batch of a·d dense ones: Y[(i, k, j)] = Σ_l W[i, k, l, j] X[(i, l, j)], plus the bias.

    The arguments are those of the operator; `algorithm` makes no difference.
    """
    del algorithm
    if transposed:
        weight = weight.transpose(1, 2)
    a, b, c, d = weight.shape
    blocks = weight.to(x.dtype).permute(0, 3, 1, 2)  # (a, d, b, c)
    if layout == "batch_first":
        columns = x.reshape(-1, a, c, d).permute(1, 3, 0, 2)  # (a, d, batch, c)
        y = torch.matmul(columns, blocks.transpose(2, 3)).permute(2, 0, 3, 1).reshape(-1, a * b * d)
        return y if bias is None else y + bias.to(y.dtype)
    columns = x.reshape(a, c, d, -1).permute(0, 2, 1, 3)  # (a, d, c, batch)
    y = torch.matmul(blocks, columns).permute(0, 2, 1, 3).reshape(a * b * d, -1)
    return y if bias is None else y + bias.to(y.dtype)[:, None]


DECOMPOSITIONS: dict[torch._ops.OpOverload, Callable[..., torch.Tensor]] = {product: define_product}
"""The operators of this package by torch's own."""


def count_flops(
    x_shape: torch.Size,
    weight_shape: torch.Size,
    bias_shape: torch.Size | None,
    transposed: bool,
    algorithm: str,
    layout: Layout,
    *,
    out_shape: torch.Size | None = None,
    **options: object,
) -> int:
    """2·batch·abcd, whatever the algorithm executes; as for torch's own products, the bias is not counted."""
    del bias_shape, transposed, algorithm, out_shape, options
    batch: int = x_shape[0 if layout == "batch_first" else 1]
    return 2 * batch * prod(weight_shape)


def register_formulas() -> None:
    """Give torch the definition and the FLOPs of the operator; again, it changes nothing."""
    decomposition_table.setdefault(product, define_product)
    if product.overloadpacket not in flop_registry:
        register_flop_formula(product.overloadpacket)(count_flops)
