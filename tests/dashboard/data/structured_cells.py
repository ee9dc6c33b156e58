"""Simulated cells of one layer and one model, with planted costs."""

from __future__ import annotations

import random
from collections.abc import Iterator

from kswatch.db.records import LAYER, MeasurementRecord, ProblemKey

MODEL_COSTS = (("dense/fair", 1.0), ("ks/bmm", 0.8), ("ks/bmm_strided", 0.7), ("ks/fused", 0.5))
"""Variants of one model and their latency over dense."""

LAYER_COSTS = (
    ("dense/linear", 589_824, 9.0),
    ("ks 6,64,64,1;1,768,192,2/fused", 319_488, 5.0),
    ("ks 6,64,64,1;1,768,192,2/bmm", 319_488, 8.0),
    ("low_rank 32/fused", 61_440, 3.0),
)
"""Cells of one layer: parameters and MB moved at the device's bandwidth."""


def layer_cells(bandwidth: float, reason: str, noise: random.Random) -> Iterator[MeasurementRecord]:
    """A layer as dense, by a published chain and at low rank, and a family that has no such layer."""
    key = ProblemKey(1, 1536, 384, 1, 196, "fp32", "batch_first", LAYER)
    for name, parameters, cost in LAYER_COSTS:
        time = cost * 1e6 / bandwidth * noise.gauss(1, 0.004)
        bounds = {"latency_low_ms": time * 0.995, "latency_high_ms": time * 1.005}
        yield MeasurementRecord(key, name, "ok", latency_ms=time, parameters=parameters, **bounds)
    yield MeasurementRecord(key, "two_four/semi_structured", "unsupported", reason=f"not in fp32 {reason}")


def model_cells(bandwidth: float, reason: str, noise: random.Random) -> Iterator[MeasurementRecord]:
    """ViT-S/16 at batch 8: dense, by two baselines and by fused, and one that is too slow."""
    key = ProblemKey(1, 1, 196, 1, 8, "fp32", "batch_first", "vit_s16 eager")
    dense_ms = 8e9 / bandwidth
    for name, over_dense in MODEL_COSTS:
        time = over_dense * dense_ms * noise.gauss(1, 0.002)
        bounds = {"latency_low_ms": time * 0.995, "latency_high_ms": time * 1.005}
        ratios = {"ratio_to_fused": time / dense_ms, "ratio_to_fused_low": 0.99 * time / dense_ms}
        ratios["ratio_to_fused_high"] = 1.01 * time / dense_ms
        yield MeasurementRecord(key, name, "ok", latency_ms=time, energy_mj=0.4 * time, **bounds, **ratios)
    yield MeasurementRecord(key, "ks/csr", "too_slow", reason=f"over 5 s {reason}")
