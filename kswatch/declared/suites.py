"""The suites, each declared once: `profiler` finds their rules here, pages and help texts their statements.

A new suite is a file below `profiler/planning/` and a line in `SUITES` (`docs/guides/add_a_suite.md`).
"""

from __future__ import annotations

from typing import Final, NamedTuple


class DeclaredSuite(NamedTuple):
    """One suite, in everything that is known without importing it."""

    name: str
    statement: str
    """Its rule in one line, as shown on pages and in help texts."""
    source: str
    """The module below `kswatch.profiler.planning` and its rule, as `suites:SMOKE`."""


SUITES: Final[tuple[DeclaredSuite, ...]] = (
    DeclaredSuite(
        "smoke",
        "ten small patterns, ViT-S/16 and a block of GPT-2: under two minutes on two CPU cores",
        "suites:SMOKE",
    ),
    DeclaredSuite(
        "nightly", "120 patterns of `paper`, four precisions: an hour on a large GPU", "suites:NIGHTLY"
    ),
    DeclaredSuite(
        "paper", "the paper's 750 patterns, fp32 and fp16: three hours on a large GPU", "suites:PAPER"
    ),
    DeclaredSuite("small_batch", "30 patterns of `paper` at batch 1, 8, 64 and 256", "suites:SMALL_BATCH"),
    DeclaredSuite("vit_s16", "six patterns of ViT-S/16, batch 25,088, four precisions", "suites:VIT_S16"),
    DeclaredSuite("fp8", "the ten small patterns of `smoke` in fp8, batch 1,024", "suites:FP8"),
    DeclaredSuite("gpt2_medium", "the factors of GPT-2 medium's chains, batch 25,088", "suites:GPT2_MEDIUM"),
    DeclaredSuite(
        "layers", "eleven linear layers by nine families of weights, batch 1 to 25,088", "suites:LAYERS"
    ),
    DeclaredSuite(
        "models",
        "ViT-S/16 and GPT-2 medium, dense and with their chains: 15 minutes on a CPU",
        "suites:MODELS",
    ),
    DeclaredSuite(
        "transforms",
        "fast Hadamard, Fourier and cosine transforms as chains, 64 to 4,096 numbers, batch 1 to 1,024",
        "transform_suite:RULE",
    ),
)
