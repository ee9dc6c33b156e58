"""The suite `transforms`: fast transforms as chains, beside `torch.fft`, lazylinop and the dense matrix."""

from __future__ import annotations

from itertools import product

from kswatch.db.records import DENSE_LAYER, cell_name
from kswatch.kernels.families.base import LayerShape
from kswatch.kernels.families.catalogue import Structure
from kswatch.kernels.families.transforms import LARGEST_RADIX, LAZYLINOP, TORCH_FFT, TRANSFORMS
from kswatch.kernels.problem import LAYOUTS, Precision
from kswatch.profiler.planning.suite import rule
from kswatch.profiler.subjects.problems import AnyProblem

LENGTHS = (64, 256, 1024, 4096)
BATCHES = (1, 64, 1024)
TRANSFORM_PRECISIONS: tuple[Precision, ...] = ("fp32", "fp64", "complex64")
IMPLEMENTATIONS = ("fused", "bmm", "bmm_strided", TORCH_FFT, LAZYLINOP)


def transform_problems() -> tuple[LayerShape, ...]:
    """Each length at each batch, in the precisions of the transforms and both layouts."""
    return tuple(
        LayerShape(n, n, batch, precision, layout)
        for n, batch, precision, layout in product(LENGTHS, BATCHES, TRANSFORM_PRECISIONS, LAYOUTS)
    )


def transform_cells(problem: AnyProblem) -> tuple[str, ...]:
    """The dense matrix, then each transform that has the precision by each way to compute it.

    The Hadamard transform, which has all precisions, is measured in real ones.
    """
    assert isinstance(problem, LayerShape)
    found = [one for one in TRANSFORMS if problem.precision in one.precisions]
    if problem.precision == "complex64":
        found = [one for one in found if one.name != "hadamard"]
    return (
        DENSE_LAYER,
        *(
            cell_name(str(Structure(one.name, (LARGEST_RADIX,))), implementation)
            for one in found
            for implementation in IMPLEMENTATIONS
            if implementation in one.implementations
        ),
    )


RULE = rule(transform_problems, energy_problems=12, cells=transform_cells)
