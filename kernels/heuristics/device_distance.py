"""The distance between two devices; predictions for an unmeasured device come from the nearest measured one.

The winner depends on a device's balance, operations per byte, so devices are compared by their balance:
from the rates measured on a device where they are known, else from the manufacturer's figures.
"""

from __future__ import annotations

import math
from functools import lru_cache

from kswatch.kernels.heuristics.base import DeviceFacts

STATED_RATES: dict[str, tuple[float, float, float]] = {
    "b200": (8.0, 80, 2500),
    "h200": (4.8, 67, 989),
    "h100": (3.35, 67, 989),
    "l40s": (0.864, 91.6, 362),
    "6000": (0.96, 91.1, 364),
    "l4": (0.3, 30.3, 121),
    "a100": (1.555, 19.5, 312),
    "a10": (0.6, 31.2, 125),
    "4090": (1.01, 82.6, 330),
    "3090": (0.936, 35.6, 142),
    "v100": (0.9, 14.0, 112),
    "t4": (0.32, 8.1, 65),
}
"""TB/s, TFLOP/s in fp32 and in 16 bits (tf32: half of that), by a word of the model name."""

OTHER_KIND = 8.0
"""Penalty between a GPU and a CPU."""
UNKNOWN_DEVICE = 4.0
"""Difference in balance that is assumed where a balance is unknown."""
OTHER_MODEL = 1.0
"""Penalty between any two models, which differ in more than their rates."""
UNNAMED_PROCESSOR = frozenset({"cpu", "x86", "64", "amd64", "aarch64", "arm64"})
"""Words of names that leave a CPU's model open: what `platform.processor()` gives on most systems."""


def device_distance(facts: DeviceFacts, measured: DeviceFacts, precision: str) -> float:
    """0 for the same model, else 1 or more: the doublings of balance between the devices, plus penalties."""
    if same_model(facts, measured):
        return 0.0
    kinds = {str(device.get("kind") or "cuda") for device in (facts, measured)}
    balances = (balance(facts, precision), balance(measured, precision))
    if None in balances:
        difference = UNKNOWN_DEVICE
    else:
        difference = abs(math.log2((balances[0] or 1.0) / (balances[1] or 1.0)))
    return OTHER_MODEL + difference + OTHER_KIND * (len(kinds) - 1)


def same_model(facts: DeviceFacts, measured: DeviceFacts) -> bool:
    """Whether both have the same model name, ignoring manufacturer and spelling; a CPU may have no name."""
    if "cpu" in (facts.get("kind"), facts.get("model")) and not _words(facts) - UNNAMED_PROCESSOR:
        return measured.get("kind") == "cpu"
    return _words(facts) == _words(measured)


def balance(facts: DeviceFacts, precision: str) -> float | None:
    """Operations per byte at full rate; None where neither rates nor model are known."""
    copies = [_number(facts, f"copy_{name}_rate") for name in ("fp32", precision)]
    copy_rate = next((rate for rate in copies if rate), None)
    gemm_rate = _number(facts, f"gemm_{precision}_rate")
    if copy_rate and gemm_rate:
        return gemm_rate / copy_rate
    stated = next((rates for word, rates in STATED_RATES.items() if word in _words(facts)), None)
    if stated is None:
        return None
    terabytes, fp32, half = stated
    return {"fp32": fp32, "tf32": half / 2, "complex64": fp32, "fp64": fp32 / 2}.get(
        precision, half
    ) / terabytes


def balance_facts(facts: DeviceFacts) -> dict[str, object]:
    """The facts that distances depend on; a model file keeps these for each device."""
    kept = ("model", "kind", "architecture", "origin")
    return {name: value for name, value in facts.items() if name in kept or name.endswith("_rate")}


def _number(facts: DeviceFacts, name: str) -> float | None:
    value = facts.get(name)
    return float(value) if isinstance(value, int | float) else None


def _words(facts: DeviceFacts) -> frozenset[str]:
    return model_words(str(facts.get("model") or ""))


@lru_cache(maxsize=64)
def model_words(model: str) -> frozenset[str]:
    """The words of a model's name by which names are compared: without case, manufacturer and punctuation."""
    name = model.casefold().replace("-", " ").replace("_", " ")
    return frozenset(name.split()) - {"nvidia", "tesla"}
