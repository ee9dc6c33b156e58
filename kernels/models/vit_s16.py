"""ViT-S/16 as in the paper (Gonon et al., ICML 2025): its `simple_vit_s16_in1k`."""

from __future__ import annotations

from kswatch.kernels.models.base import LinearModule, Model, checked_structure
from kswatch.kernels.pattern import Pattern

IMAGE, PATCH, CHANNELS, CLASSES = 224, 16, 3, 1000
SIDE = IMAGE // PATCH
ROWS = SIDE**2
WIDTH, HIDDEN, HEADS, DEPTH = 384, 1536, 6, 12
PATCH_ELEMENTS = CHANNELS * PATCH**2

MODULES = (
    LinearModule("to_q", WIDTH, WIDTH),
    LinearModule("to_k", WIDTH, WIDTH),
    LinearModule("to_v", WIDTH, WIDTH),
    LinearModule("to_out", WIDTH, WIDTH),
    LinearModule("up", WIDTH, HIDDEN),
    LinearModule("down", HIDDEN, WIDTH),
)

QKV = (Pattern(2, 48, 192, 1), Pattern(1, 192, 48, 2))
CHAINS = {
    "to_q": QKV,
    "to_k": QKV,
    "to_v": QKV,
    "up": (Pattern(6, 64, 64, 1), Pattern(1, 768, 192, 2)),
    "down": (Pattern(6, 64, 256, 1), Pattern(1, 128, 128, 3)),
}

VIT_S16 = Model(
    name="vit_s16",
    statement="ViT-S/16 on 224 x 224 images, 196 patches, as in the paper",
    rows=ROWS,
    width=WIDTH,
    heads=HEADS,
    blocks=DEPTH,
    modules=MODULES,
    block_vectors=2 * 2 * WIDTH + HIDDEN + WIDTH,  # two LayerNorms, the biases of up and down
    outer_parameters=2 * PATCH_ELEMENTS  # LayerNorm of patches
    + (PATCH_ELEMENTS + 1) * WIDTH
    + 2 * 2 * WIDTH  # LayerNorms of the embedding and at the end
    + (WIDTH + 1) * CLASSES,
    outer_flops=2 * ROWS * PATCH_ELEMENTS * WIDTH + 2 * WIDTH * CLASSES,
    input_elements=CHANNELS * IMAGE**2,
    output_elements=CLASSES,
    structures=(checked_structure("ks", CHAINS, MODULES),),
)
