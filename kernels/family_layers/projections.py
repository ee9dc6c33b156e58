"""The nearest layer of a structure to a dense weight, where a projection is known."""

from __future__ import annotations

import torch

from kswatch.errors import UsageError
from kswatch.kernels.families.base import ChainFamily
from kswatch.kernels.families.catalogue import Structure
from kswatch.kernels.family_layers.two_four_layer import pruned
from kswatch.kernels.layer.projection import Projection, product_pattern
from kswatch.kernels.layer.projection import project as project_on_chain


def project(structure: Structure, weight: torch.Tensor) -> Projection | None:
    """The nearest matrix to a weight (out_features, in_features), in float64; None where none is known.

    `low_rank` is the truncated singular value decomposition, two factors the closed form of Monarch; longer
    chains are split factor by factor, which is exact where the weight is such a product. None for BLAST,
    whose blocks overlap, and for `stl`. The weights are those of the factors, right-most first; of `dense`
    and `two_four` the whole matrix.

    Raises:
        UsageError: the structure has no layer of this shape.
    """
    found, (rows, columns) = structure.family, weight.shape
    reason = found.size_reason(columns, rows, structure.size)
    if reason is not None:
        raise UsageError(reason)
    exact = weight.detach().double()
    if isinstance(found, ChainFamily):
        chain = found.chain(columns, rows, structure.size)
        try:
            product_pattern(chain)
        except UsageError:
            return None
        return project_on_chain(exact, chain)
    if structure.family_name == "dense":
        return Projection((exact,), 0.0)
    if structure.family_name != "two_four":
        return None
    near = pruned(exact)
    norm = float(torch.linalg.norm(exact))
    return Projection((near,), float(torch.linalg.norm(exact - near)) / norm if norm else 0.0)
