"""The true latency and power of layers and models on a simulated board: sums over their products.

As for products, plausible values whose only use is that they are known. A layer is the sum of its factors, or
of encoding, core and decoding; a model adds attention, and passes over its activations between products.
"""

from __future__ import annotations

from collections.abc import Iterable

from kswatch.kernels.catalogue import implementation
from kswatch.kernels.families.base import ChainFamily, LayerShape
from kswatch.kernels.families.catalogue import Structure
from kswatch.kernels.families.stl import STOCK, StrassenTile
from kswatch.kernels.families.transforms import TORCH_FFT
from kswatch.kernels.models.base import AUTO, DENSE, FUSED, PUBLISHED
from kswatch.kernels.pattern import Pattern
from kswatch.kernels.problem import ELEMENT_BYTES, Problem
from kswatch.profiler.devices.simulated_spec import SimulatedSpec
from kswatch.profiler.simulated.cost_model import BANDWIDTH_SHARE, LAUNCH_MS, Truth, truth_of
from kswatch.profiler.subjects.cells import StructuredCell, StructuredProblem
from kswatch.profiler.subjects.layer_cells import LayerCell
from kswatch.profiler.subjects.model_cells import ModelCell
from kswatch.profiler.subjects.problems import ModelForward

USUAL = "bmm"
SPARSE_SHARE = 0.65
"""Latency of a 2:4 product over that of the dense one."""
BLOCK_PASSES = {"eager": 14.0, "compile": 8.0, "graph": 14.0}
"""Passes over a block's activations outside of its products: normalisations, residuals, heads."""
PUBLISHED_PASSES = 6.0
"""More of them where attention and GELU are written out."""
BLOCK_LAUNCHES = {"eager": 12, "compile": 7, "graph": 3}
"""Launches of a block outside of its products, by the time that they take."""


def structured_truth(spec: SimulatedSpec, problem: StructuredProblem, cell: StructuredCell) -> Truth:
    """Latency and power of a layer's or a model's cell, the same for every board of the model."""
    if isinstance(problem, ModelForward):
        assert isinstance(cell, ModelCell)
        return _model(spec, problem, cell)
    assert isinstance(cell, LayerCell)
    return _layer(spec, problem, cell.structure, cell.implementation)


def _layer(spec: SimulatedSpec, shape: LayerShape, structure: Structure, name: str) -> Truth:
    family, size = structure.family, structure.size
    if isinstance(family, ChainFamily):
        problems = family.factor_problems(shape, size)
        if name == TORCH_FFT:  # one pass over memory
            return _product(spec, problems[0], FUSED)
        return _total(_product(spec, one, name) for one in problems)
    if isinstance(family, StrassenTile):
        tile, rank = size
        core = family.core(shape, size)
        tiles = core.batch * core.pattern.c, core.batch * core.pattern.b
        encode = Problem(Pattern(1, rank, tile**2, 1), tiles[0], shape.precision, shape.layout)
        decode = Problem(Pattern(1, tile**2, rank, 1), tiles[1], shape.precision, shape.layout)
        whole = (_product(spec, encode, DENSE), _product(spec, core, name), _product(spec, decode, DENSE))
        return _total(whole)
    pattern = Pattern(1, shape.out_features, shape.in_features, 1)
    dense = _product(spec, Problem(pattern, shape.batch, shape.precision, shape.layout), DENSE)
    return dense if structure.family_name == DENSE else _scaled(dense, SPARSE_SHARE)


def _product(spec: SimulatedSpec, problem: Problem, name: str) -> Truth:
    if name == AUTO:
        return min((_product(spec, problem, one) for one in (FUSED, USUAL)), key=lambda one: one.time_ms)
    return truth_of(spec, problem, implementation(USUAL if name == STOCK else name))


def linear_share(spec: SimulatedSpec, forward: ModelForward, cell: ModelCell) -> float:
    """Share of a forward's time in its linear layers."""
    return _linear_layers(spec, forward, cell).time_ms / _model(spec, forward, cell).time_ms


def _linear_layers(spec: SimulatedSpec, forward: ModelForward, cell: ModelCell) -> Truth:
    model, variant = cell.model, cell.variant
    block = []
    for module, shape in model.layers(forward.batch, forward.precision):
        chain = variant.structure.chains.get(module.name)
        structure = Structure(DENSE) if chain is None else Structure("ks", _size(chain))
        name = DENSE if chain is None else variant.implementation
        block.append(_layer(spec, shape, structure, name))
    return _scaled(_total(block), model.blocks)


def _model(spec: SimulatedSpec, forward: ModelForward, cell: ModelCell) -> Truth:
    between = _between_ms(spec, forward, cell)
    products = _linear_layers(spec, forward, cell)
    cold_ms, hot_ms = products.time_ms + between, (products.hot_ms or products.time_ms) + between
    return Truth(cold_ms, hot_ms, products.power_w, products.noise, products.memory)


def _size(chain: Iterable[Pattern]) -> tuple[int, ...]:
    return tuple(number for pattern in chain for number in pattern.as_tuple())


def _between_ms(spec: SimulatedSpec, forward: ModelForward, cell: ModelCell) -> float:
    """Milliseconds of a forward outside of its linear layers."""
    model = cell.model
    passes = BLOCK_PASSES[forward.execution]
    passes += PUBLISHED_PASSES if cell.variant.implementation == PUBLISHED else 0.0
    moved = passes * ELEMENT_BYTES[forward.precision] * forward.batch * model.rows * model.width
    pass_ms = 1e3 * moved / (BANDWIDTH_SHARE * spec.model.bytes_per_s)
    return model.blocks * (pass_ms + BLOCK_LAUNCHES[forward.execution] * LAUNCH_MS)


def _total(parts: Iterable[Truth]) -> Truth:
    """One product after the other."""
    every = list(parts)
    cold_ms = sum(one.time_ms for one in every)
    power_w = sum(one.power_w * one.time_ms for one in every) / cold_ms
    hot_ms = sum(one.hot_ms or one.time_ms for one in every)
    return Truth(cold_ms, hot_ms, power_w, every[0].noise, every[0].memory)


def _scaled(truth: Truth, factor: float) -> Truth:
    hot_ms = factor * (truth.hot_ms or truth.time_ms)
    return Truth(factor * truth.time_ms, hot_ms, truth.power_w, truth.noise, truth.memory)
