"""Suites: the rules of the declared ones, by name.

The rules are those of the paper (Gonon et al., ICML 2025) and of the models that use its matrices.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from importlib import import_module
from itertools import product

from kswatch.declared.suites import SUITES as DECLARED
from kswatch.errors import UsageError
from kswatch.kernels.pattern import Pattern
from kswatch.kernels.problem import Problem
from kswatch.profiler.planning.structured_suites import (
    brief_cells,
    cpu_model_cells,
    cpu_model_problems,
    layer_problems,
    model_problems,
    smoke_models,
)
from kswatch.profiler.planning.suite import PAPER_BATCH as PAPER_BATCH
from kswatch.profiler.planning.suite import SMOKE_BATCH as SMOKE_BATCH
from kswatch.profiler.planning.suite import Suite as Suite
from kswatch.profiler.planning.suite import cross as cross
from kswatch.profiler.planning.suite import rule


def find(name: str) -> Suite:
    """The suite of that name.

    Raises:
        UsageError: there is none; the message names all.
    """
    for suite in SUITES:
        if suite.name == name:
            return suite
    known = ", ".join(suite.name for suite in SUITES)
    raise UsageError(f"there is no suite {name!r}; choose from {known}, or give --pattern a,b,c,d alone")


def paper_patterns() -> tuple[Pattern, ...]:
    """The 750 patterns of the paper's rule, sorted by family, then by (b, c, a, d).

    A pattern is included where each of X, Y and W has fewer than 2³¹ elements at batch 25,088.
    """
    sizes = [(b, c) for b, c in product(_SIZES, repeat=2) if c in (b, 4 * b) or b == 4 * c]
    repeats = (
        [(a, 1) for a in _REPEATS]
        + [(1, d) for d in _REPEATS if d > 1]
        + [(a, d) for a in _REPEATS if a > 1 for d in _INNER_REPEATS]
    )
    patterns = [
        Pattern(a, b, c, d)
        for (b, c), (a, d) in product(sizes, repeats)
        if (max(b, c), min(b, c)) not in _LEFT_OUT
    ]
    return tuple(sorted(filter(_fits_32_bit_indices, patterns), key=_by_family))


def _by_family(pattern: Pattern) -> tuple[int, int, int, int, int]:
    family = ("d=1", "a=1", "both>1").index(pattern.family)
    return (family, pattern.b, pattern.c, pattern.a, pattern.d)


_SIZES = (48, 64, 96, 128, 192, 256, 384, 512, 768, 1024)
_LEFT_OUT = frozenset({(1024, 256), (512, 128), (256, 64)})
_REPEATS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128)
_INNER_REPEATS = (4, 16, 64)


def _fits_32_bit_indices(pattern: Pattern) -> bool:
    activations = PAPER_BATCH * max(pattern.rows, pattern.columns)
    return max(activations, pattern.nonzeros) < 2**31


def sample(patterns: tuple[Pattern, ...], count: int) -> tuple[Pattern, ...]:
    """`count` patterns at equal distances: each family and each (b, c) in proportion."""
    step = len(patterns) / count
    return tuple(patterns[int((place + 0.5) * step)] for place in range(count))


VIT_S16_PATTERNS: tuple[Pattern, ...] = (
    Pattern(2, 48, 192, 1),
    Pattern(1, 192, 48, 2),
    Pattern(6, 64, 64, 1),
    Pattern(1, 768, 192, 2),
    Pattern(6, 64, 256, 1),
    Pattern(1, 128, 128, 3),
)
"""Factors of the linear layers of ViT-S/16 in the paper."""

GPT2_MEDIUM_CHAINS: tuple[tuple[Pattern, Pattern], ...] = (
    (Pattern(16, 64, 256, 1), Pattern(1, 1024, 1024, 1)),
    (Pattern(16, 64, 256, 1), Pattern(1, 512, 512, 2)),
    (Pattern(16, 64, 256, 1), Pattern(1, 256, 256, 4)),
    (Pattern(16, 64, 256, 1), Pattern(1, 128, 128, 8)),
    (Pattern(16, 64, 256, 1), Pattern(1, 64, 64, 16)),
    (Pattern(64, 64, 64, 1), Pattern(1, 128, 512, 8)),
    (Pattern(64, 64, 64, 1), Pattern(1, 64, 256, 16)),
    (Pattern(32, 128, 128, 1), Pattern(1, 64, 256, 16)),
    (Pattern(16, 256, 256, 1), Pattern(1, 64, 256, 16)),
    (Pattern(8, 512, 512, 1), Pattern(1, 64, 256, 16)),
)
"""Chains, right-most factor first, that replace the down-projections 4096 → 1024 of GPT-2 medium in the
paper's end-to-end table, which lists the left factor first."""

SMOKE_PATTERNS: tuple[Pattern, ...] = (
    Pattern(2, 48, 192, 1),
    Pattern(6, 64, 64, 1),
    Pattern(1, 256, 256, 1),
    Pattern(1, 192, 48, 2),
    Pattern(1, 128, 128, 3),
    Pattern(1, 64, 64, 16),
    Pattern(1, 48, 48, 12),
    Pattern(4, 64, 64, 4),
    Pattern(2, 96, 96, 4),
    Pattern(3, 48, 192, 2),
)


def smoke_problems() -> tuple[Problem, ...]:
    """Ten small patterns in fp32, one of each family in bf16 too."""
    in_bf16 = (Pattern(6, 64, 64, 1), Pattern(1, 128, 128, 3), Pattern(4, 64, 64, 4))
    return cross(SMOKE_PATTERNS, (SMOKE_BATCH,), ("fp32",)) + cross(in_bf16, (SMOKE_BATCH,), ("bf16",))


def gpt2_medium_patterns() -> tuple[Pattern, ...]:
    """Every factor of the chains, once."""
    return tuple(dict.fromkeys(factor for chain in GPT2_MEDIUM_CHAINS for factor in chain))


SMOKE = rule(lambda: (*smoke_problems(), *smoke_models()), within_s=100.0, cells=brief_cells)
FP8 = rule(lambda: cross(SMOKE_PATTERNS, (SMOKE_BATCH,), ("fp8",)))
NIGHTLY = rule(lambda: cross(sample(paper_patterns(), 120)), energy_problems=200)
PAPER = rule(lambda: cross(paper_patterns(), precisions=("fp32", "fp16")), energy_problems=500)
SMALL_BATCH = rule(
    lambda: cross(sample(paper_patterns(), 30), (1, 8, 64, 256), ("fp32", "fp16")), energy_problems=60
)
VIT_S16 = rule(lambda: cross(VIT_S16_PATTERNS))
GPT2_MEDIUM = rule(lambda: cross(gpt2_medium_patterns()))
LAYERS = rule(layer_problems, energy_problems=20)
MODELS = rule(
    model_problems,
    cpu_problems=cpu_model_problems,
    cpu_cells=cpu_model_cells,
    within_s=900.0,
    cpu_budget_s=900.0,
)


def _declared() -> Iterator[Suite]:
    for name, statement, source in DECLARED:
        module, _, attribute = source.partition(":")
        found: Suite = getattr(import_module(f"kswatch.profiler.planning.{module}"), attribute)
        yield replace(found, name=name, statement=statement)


SUITES: tuple[Suite, ...] = tuple(_declared())
