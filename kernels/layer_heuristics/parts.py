"""The parts of a layer's computation, whose predicted costs add up to that of the layer.

A chain is its factors; a Strassen-Tile layer is an encoding, a core product, which is a factor too, and a
decoding. Each part has terms as in `kswatch.kernels.heuristics.cost_model`, the launch among them, so that a
chain costs the sum of its factors and one launch for each.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from kswatch.kernels.families.base import ChainFamily, LayerShape
from kswatch.kernels.families.catalogue import Structure
from kswatch.kernels.families.stl import ONE_PASS, STOCK, StrassenTile
from kswatch.kernels.heuristics.base import DeviceFacts
from kswatch.kernels.heuristics.cost_model import Floats, term_table
from kswatch.kernels.heuristics.learned import layer_choice
from kswatch.kernels.pattern import Pattern
from kswatch.kernels.problem import Problem

AUTO, LINEAR = "auto", "linear"
ENCODE, DECODE = "encode", "decode"


@dataclass(frozen=True)
class Part:
    """One step of a layer."""

    kind: str
    """Parts of one kind share their rates: `fused`, `bmm`, `linear`, `encode`, `stl_bmm decode`, ..."""
    terms: tuple[float, ...]
    """A launch, sizes in MB and GFLOP, and what they take longer by."""


def parts_of(
    structure: Structure, shape: LayerShape, implementation: str, facts: DeviceFacts
) -> tuple[Part, ...]:
    """The steps of a layer by an implementation; none for a family whose cost is not modelled.

    Args:
        structure: a family at a size that the shape allows.
        shape: the layer.
        implementation: one of the family's.
        facts: of the device, by which `auto` chooses for each factor.
    """
    found = structure.family
    if isinstance(found, ChainFamily):
        problems = found.factor_problems(shape, structure.size)
        return tuple(_factor(one, implementation, facts) for one in problems)
    if isinstance(found, StrassenTile) and implementation != ONE_PASS:
        return _tile_parts(found, structure, shape, implementation, facts)
    if structure.family_name != "dense":
        return ()
    whole = Pattern(1, shape.out_features, shape.in_features, 1)
    problem = Problem(whole, shape.batch, shape.precision, shape.layout)
    return (Part(LINEAR, _terms(problem, "dense")),)


def _factor(problem: Problem, implementation: str, facts: DeviceFacts) -> Part:
    name = layer_choice(problem, facts) if implementation == AUTO else implementation
    return Part(name, _terms(problem, name))


def _tile_parts(
    found: StrassenTile, structure: Structure, shape: LayerShape, implementation: str, facts: DeviceFacts
) -> tuple[Part, ...]:
    tile, rank = structure.size
    core = found.core(shape, structure.size)
    rows = tile * core.batch
    inputs, outputs = (
        _coding_terms(rows * features, rank, tile, shape.element_bytes)
        for features in (shape.in_features, shape.out_features)
    )
    stock = implementation == STOCK
    prefix = f"{STOCK} " if stock else ""
    middle = Part(f"{STOCK} core", _terms(core, "bmm_blockdense", rank)) if stock else None
    return (
        Part(f"{prefix}{ENCODE}", inputs),
        middle or _factor(core, implementation, facts),
        Part(f"{prefix}{DECODE}", outputs),
    )


def _coding_terms(elements: int, rank: int, tile: int, element_bytes: int) -> tuple[float, ...]:
    """Of an encoder or a decoder: a launch, MB of tiles, MB of channels, GFLOP."""
    plain_mb = element_bytes * elements / 1e6
    return 1.0, plain_mb, plain_mb * rank / tile**2, 2e-9 * elements * rank


def _terms(problem: Problem, implementation: str, blocks: int | None = None) -> tuple[float, ...]:
    """The terms of the cost model; with `blocks`, of so many dense products without permutations."""
    if blocks is not None:
        pattern = problem.pattern
        problem = Problem(
            Pattern(blocks, pattern.b, pattern.c, 1), problem.batch, problem.precision, problem.layout
        )
    row: Floats = np.asarray(term_table([problem], implementation)[0])
    return tuple(row.tolist())
