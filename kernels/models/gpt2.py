"""GPT-2 medium as in the paper's end-to-end table (Gonon et al., ICML 2025), and one block of it.

The model ends with the hidden states, without the language head. All replaced down-projections have the
same chain; patterns are given right-most factor first, unlike in the published file.
"""

from __future__ import annotations

from kswatch.kernels.models.base import (
    Chain,
    LinearModule,
    Model,
    ModelStructure,
    chain_name,
    checked_structure,
)
from kswatch.kernels.pattern import Pattern

TOKENS = 196
WIDTH, HIDDEN, HEADS, DEPTH = 1024, 4096, 16, 24
VOCABULARY, POSITIONS = 50_257, 1024

MODULES = (
    LinearModule("qkv", WIDTH, 3 * WIDTH),
    LinearModule("proj", WIDTH, WIDTH),
    LinearModule("up", WIDTH, HIDDEN),
    LinearModule("down", HIDDEN, WIDTH),
)

DOWN_CHAINS: tuple[Chain, ...] = (
    *((Pattern(16, 64, 256, 1), Pattern(1, WIDTH // d, WIDTH // d, d)) for d in (1, 2, 4, 8, 16)),
    (Pattern(64, 64, 64, 1), Pattern(1, 128, 512, 8)),
    *((Pattern(a, HIDDEN // a, HIDDEN // a, 1), Pattern(1, 64, 256, 16)) for a in (64, 32, 16, 8)),
)
"""The ten published chains for 4096 -> 1024."""
BEST_DOWN = (Pattern(16, 64, 256, 1), Pattern(1, 64, 64, 16))
"""The fastest published one."""
UP = (Pattern(16, 64, 64, 1), Pattern(1, 256, 64, 16))
"""A chain for 1024 -> 4096 with as many weights as `BEST_DOWN`."""


def down_structure(chain: Chain) -> ModelStructure:
    """The down-projections as a chain: `ks 16,64,256,1;1,64,64,16`."""
    return checked_structure(f"ks {chain_name(chain)}", {"down": chain}, MODULES)


def up_down_structure(up: Chain, down: Chain) -> ModelStructure:
    """The up- and down-projections as chains: `ks 16,64,64,1;1,256,64,16 16,64,256,1;1,64,64,16`."""
    name = f"ks {chain_name(up)} {chain_name(down)}"
    return checked_structure(name, {"up": up, "down": down}, MODULES)


def _gpt2(name: str, statement: str, blocks: int, structures: tuple[ModelStructure, ...]) -> Model:
    whole = blocks == DEPTH
    outer = (VOCABULARY + POSITIONS) * WIDTH + 2 * WIDTH  # embeddings, last LayerNorm
    return Model(
        name=name,
        statement=statement,
        rows=TOKENS,
        width=WIDTH,
        heads=HEADS,
        blocks=blocks,
        modules=MODULES,
        block_vectors=2 * 2 * WIDTH + sum(one.out_features for one in MODULES),
        outer_parameters=outer if whole else 0,
        outer_flops=0,
        input_elements=TOKENS if whole else TOKENS * WIDTH,
        output_elements=TOKENS * WIDTH,
        structures=structures,
    )


GPT2_MEDIUM = _gpt2(
    "gpt2_medium",
    "GPT-2 medium, 24 blocks, sequences of 196 tokens, its down-projections replaced as in the paper",
    DEPTH,
    tuple(down_structure(chain) for chain in DOWN_CHAINS),
)
GPT2_BLOCK = _gpt2(
    "gpt2_block",
    "one block of GPT-2 medium, sequences of 196 tokens",
    1,
    (down_structure(BEST_DOWN), up_down_structure(UP, BEST_DOWN)),
)
