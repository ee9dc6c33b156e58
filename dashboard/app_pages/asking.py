"""What may be asked for: read from what was typed, refused in words, estimated before it is sent."""

from __future__ import annotations

import re
from dataclasses import dataclass
from statistics import median

from dashboard import cached_queries
from db.records import IMPLEMENTATIONS
from kernels.pattern import Pattern
from kernels.problem import LAYOUTS, PRECISIONS, Problem
from kswatch_errors import UsageError

AD_HOC = "ad_hoc"
"""The suite's name of a run over given patterns alone."""

SUITES: dict[str, str] = {
    "smoke": "smoke: ten small patterns, a minute or two",
    "nightly": "nightly: 120 patterns, four precisions",
    "paper": "paper: the 750 patterns of the paper",
    "small_batch": "small_batch: batch 1, 8, 64 and 256",
    "vit_s16": "vit_s16: six patterns of ViT-S/16",
    "gpt2_medium": "gpt2_medium: the factors of GPT-2 medium",
    AD_HOC: "the patterns below alone",
}

MOST_CELLS = 20_000
DEFAULT_BATCHES = (25_088,)
DEFAULT_PRECISIONS = ("fp32",)
"""What the profiler takes for given patterns where nothing is chosen; both layouts besides."""


@dataclass(frozen=True)
class Asked:
    """A run as it is asked for; empty tuples choose what the suite holds."""

    device: str
    suite: str
    patterns: tuple[Pattern, ...] = ()
    batches: tuple[int, ...] = ()
    precisions: tuple[str, ...] = ()
    layouts: tuple[str, ...] = ()
    implementations: tuple[str, ...] = ()

    @property
    def cells(self) -> int | None:
        """How many cells that is; None for a suite, whose patterns the profiler knows."""
        if not self.patterns:
            return None
        return (
            len(self.patterns)
            * len(self.batches or DEFAULT_BATCHES)
            * len(self.precisions or DEFAULT_PRECISIONS)
            * len(self.layouts or LAYOUTS)
            * len(self.implementations or IMPLEMENTATIONS)
        )

    def refuse_nonsense(self) -> None:
        """Say in words why this cannot be asked for.

        Raises:
            UsageError: no device, no pattern where the suite has none, or too many cells.
        """
        if not self.device:
            raise UsageError("name the device: cpu, cuda:0, a UUID or a model name")
        if self.suite == AD_HOC and not self.patterns:
            raise UsageError("give at least one pattern, as in 6,64,64,1, or choose a suite")
        if self.cells is not None and self.cells > MOST_CELLS:
            raise UsageError(
                f"{self.cells:,} cells are more than {MOST_CELLS:,}; ask for fewer patterns at once"
            )

    def arguments(self) -> dict[str, object]:
        """The filters as a run stores them."""
        chosen = {
            "pattern": [str(pattern) for pattern in self.patterns],
            "batch": list(self.batches),
            "precision": list(self.precisions),
            "layout": list(self.layouts),
            "implementation": list(self.implementations),
        }
        return {name: values for name, values in chosen.items() if values}


def read_patterns(text: str) -> tuple[Pattern, ...]:
    """The patterns typed or pasted, one a line or apart by semicolons; each once.

    Raises:
        UsageError: one of them is not four integers >= 1.
    """
    lines = [line.strip() for line in re.split(r"[\n;]+|(?<=[)\]])\s*,?\s*(?=[(\[])", text)]
    return tuple(dict.fromkeys(Pattern.parse(line) for line in lines if line))


def read_batches(text: str) -> tuple[int, ...]:
    """The batches typed, apart by commas or spaces; each once.

    Raises:
        UsageError: one of them is not an integer >= 1.
    """
    words = re.split(r"[,;\s]+", text.strip())
    batches = []
    for word in filter(None, words):
        if not word.isdecimal():
            raise UsageError(f"batch {word!r} is not an integer >= 1; try 1024")
        batches.append(Problem(Pattern(1, 1, 1, 1), int(word), PRECISIONS[0], LAYOUTS[0]).batch)
    return tuple(dict.fromkeys(batches))


def expected_minutes(asked: Asked) -> float | None:
    """Minutes that the cells will take, by the device's own runs so far; None where it has none."""
    if asked.cells is None:
        return None
    known = [device for device in cached_queries.devices() if asked.device in (device.uuid, device.kind)]
    if not known:
        return None
    runs = cached_queries.runs(device_id=known[0].id, origins=("measured",), states=("finished",), limit=20)
    per_cell_s = [run.seconds / run.cells for run in runs if run.seconds and run.cells]
    return asked.cells * median(per_cell_s) / 60 if per_cell_s else None
