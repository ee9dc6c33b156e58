"""Transforms as families of a layer's cells: their arithmetic, reasons, modules and references."""

from __future__ import annotations

import pytest
import torch

from kswatch.errors import UnsupportedError, UsageError
from kswatch.kernels.families.base import LayerShape
from kswatch.kernels.families.catalogue import (
    FAMILIES,
    Structure,
    families_without_structure,
    family,
    structures,
)
from kswatch.kernels.families.transforms import TRANSFORMS
from kswatch.kernels.family_layers.build import build_layer, make_input, reference, unsupported_reason
from kswatch.kernels.layer_heuristics.stored import measured_layers
from kswatch.kernels.reference import relative_limit
from kswatch.profiler.backends.layer_modules import LayerModules
from kswatch.profiler.subjects.layer_cells import LayerCell

pytestmark = pytest.mark.usefixtures("one_thread")

CPU = torch.device("cpu")
CELLS = [
    ("hadamard 16/fused", "fp32"),
    ("hadamard 16/bmm", "bf16"),
    ("hadamard 4/fused", "fp64"),
    ("fft 16/fused", "complex64"),
    ("fft 2/bmm", "complex64"),
    ("fft 16/torch_fft", "complex64"),
    ("dct 16/fused", "fp32"),
    ("dct 8/einsum", "fp32"),
    ("dct 16/torch_fft", "fp32"),
    ("dense/linear", "complex64"),
    ("dense/linear", "fp64"),
]


@pytest.mark.parametrize(("name", "precision"), CELLS)
@pytest.mark.parametrize("layout", ["batch_first", "batch_last"])
def test_a_cell_is_measured_and_checked_as_other_layers_are(name: str, precision: str, layout: str) -> None:
    shape = LayerShape(64, 64, 24, precision, layout)
    modules, cell = LayerModules(shape, CPU, seed=3), LayerCell.parse(name)
    assert modules.unsupported(cell) is None
    x = modules.make_input()
    module = modules.build(cell)
    y = module(x)
    assert y.shape == shape.output_shape and y.dtype == x.dtype
    found = modules.correctness(cell, module, x, y)
    assert found.ok, found.reason
    spoiled = y.clone()
    spoiled[3, 5] += 1
    assert not modules.correctness(cell, module, x, spoiled).ok


def test_the_reference_sees_a_wrong_order_of_the_gather() -> None:
    shape = LayerShape(64, 64, 8, "complex64")
    generator = torch.Generator().manual_seed(1)
    layer = build_layer(Structure("fft", (16,)), shape, "bmm", generator=generator)
    x = make_input(shape, generator, CPU)
    layer.gather = layer.gather.flip(0)
    error = torch.linalg.norm(layer(x) - reference(layer, x)) / torch.linalg.norm(reference(layer, x))
    assert error > 0.1 > relative_limit("complex64")


def test_operations_and_bytes_are_those_of_the_factors() -> None:
    shape = LayerShape(1024, 1024, 10, "complex64")
    weights = 1024 * (16 + 8 + 8)
    fft = Structure("fft", (16,))
    assert fft.parameters(1024, 1024) == weights
    assert fft.flops(shape) == 8 * 10 * weights
    assert fft.compulsory_bytes(shape) == 8 * (10 * 2048 + weights)
    real = LayerShape(1024, 1024, 10, "fp32")
    assert Structure("dct", (16,)).flops(real) == 8 * 10 * weights
    assert Structure("hadamard", (16,)).flops(real) == 2 * 10 * weights
    assert LayerShape(8, 8, 1, "complex64").dense_flops == 8 * 64
    assert LayerCell.parse("dct 16/torch_fft").memory_bytes(real) > 0


@pytest.mark.parametrize(
    ("name", "shape", "reason"),
    [
        ("fft 16/fused", LayerShape(64, 64, 8, "fp32"), "computed in complex64, not in fp32"),
        ("dct 16/fused", LayerShape(64, 64, 8, "fp64"), "computed in fp32, not in fp64"),
        ("hadamard 16/torch_fft", LayerShape(64, 64, 8), "hadamard is not computed by torch_fft"),
        ("fft 16/fused", LayerShape(48, 48, 8, "complex64"), "fft needs inputs = outputs = a power of two"),
        ("fft 3/fused", LayerShape(64, 64, 8, "complex64"), "fft takes a radix, a power of two"),
        (
            "ks 64,2,2,1/fused",
            LayerShape(128, 128, 8, "fp64"),
            "computed in fp32, tf32, bf16, fp16, not in fp64",
        ),
        ("stl 4,24/fused", LayerShape(64, 64, 8, "complex64"), "not in complex64"),
    ],
)
def test_what_cannot_be_computed_is_a_sentence(name: str, shape: LayerShape, reason: str) -> None:
    cell = LayerCell.parse(name)
    found = unsupported_reason(cell.structure, shape, cell.implementation, CPU)
    assert found is not None and reason in found
    with pytest.raises(UnsupportedError):
        build_layer(cell.structure, shape, cell.implementation, generator=torch.Generator())


def test_fixed_matrices_are_no_structures_of_a_layer_and_replace_none() -> None:
    assert not {one.name for one in TRANSFORMS} & {one.name for one in FAMILIES}
    assert not {one.family_name for one in structures(1024, 1024)} & {one.name for one in TRANSFORMS}
    assert not set(families_without_structure(1024, 1000)) & {one.name for one in TRANSFORMS}
    assert family("fft") is TRANSFORMS[1]
    with pytest.raises(UsageError, match="hadamard, fft, dct"):
        family("wavelet")

    class Row:
        b, c, batch, precision, layout, status, latency_ms = 64, 64, 1, "fp32", "batch_first", "ok", 1.0

        def __init__(self, implementation: str) -> None:
            self.implementation = implementation

    rows = [Row("dense/linear"), Row("dct 16/fused"), Row("dct 16/torch_fft")]
    kept = measured_layers(rows, {"latency": "latency_ms"}, {"ok"})["latency"]
    assert [str(one.cell.structure) for one in kept] == ["dense"]
