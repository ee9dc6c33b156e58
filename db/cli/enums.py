"""Choices of options, for every command that compares; without heavy imports."""

from enum import StrEnum


class ComparedMetric(StrEnum):
    """Metrics of a comparison."""

    LATENCY = "latency"
    ENERGY = "energy"


class Precision(StrEnum):
    """Storage and arithmetic of a product."""

    FP32 = "fp32"
    TF32 = "tf32"
    BF16 = "bf16"
    FP16 = "fp16"


class Layout(StrEnum):
    """The axis of X that is the batch."""

    BATCH_FIRST = "batch_first"
    BATCH_LAST = "batch_last"
