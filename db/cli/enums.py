"""What options let people choose from, for every command that compares; no heavy import."""

from enum import StrEnum


class ComparedMetric(StrEnum):
    """What is compared."""

    LATENCY = "latency"
    ENERGY = "energy"


class Precision(StrEnum):
    """Storage and arithmetic of a product."""

    FP32 = "fp32"
    TF32 = "tf32"
    BF16 = "bf16"
    FP16 = "fp16"


class Layout(StrEnum):
    """Which axis of X is the batch."""

    BATCH_FIRST = "batch_first"
    BATCH_LAST = "batch_last"
