"""What may be asked for: read from what was typed, refused in words, estimated before it is sent."""

from __future__ import annotations

import re
from dataclasses import dataclass

from kswatch.db.records import IMPLEMENTATIONS
from kswatch.db.request_queue.requests import Limits
from kswatch.errors import UsageError
from kswatch.kernels.pattern import Pattern, check_chain
from kswatch.kernels.problem import LAYOUTS, PRECISIONS, Problem

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

DEFAULT_BATCHES = (25_088,)
DEFAULT_PRECISIONS = ("fp32",)
"""What the profiler takes for given patterns where nothing is chosen; both layouts besides."""

MOST_ELEMENTS = 2**31
"""Of X or Y; kernels index with 32 bits."""


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
    counters: bool = False
    is_chain: bool = False
    budget_minutes: int | None = None

    @property
    def cells(self) -> int | None:
        """How many cells that is; None for a suite, whose patterns the profiler knows."""
        if self.suite != AD_HOC:
            return None
        return (
            len(self.patterns)
            * len(self.batches or DEFAULT_BATCHES)
            * len(self.precisions or DEFAULT_PRECISIONS)
            * len(self.layouts or LAYOUTS)
            * len(self.implementations or IMPLEMENTATIONS)
        )

    def refuse_nonsense(self, limits: Limits) -> None:
        """Say in words why this cannot be asked for.

        Raises:
            UsageError: no device, no pattern where the suite has none, factors that do not multiply,
                operands that no kernel can index, a precision that the device has not, too many cells.
        """
        if not self.device:
            raise UsageError("name the device: cpu, cuda:0, a UUID or a model name")
        if self.suite == AD_HOC and not self.patterns:
            raise UsageError("give at least one pattern, as in 6,64,64,1, or choose a suite")
        if self.is_chain:
            check_chain(self.patterns)
        if self.device == "cpu" and self.precisions == ("tf32",):
            raise UsageError("the CPU has no tf32; choose fp32, bf16 or fp16, or another device")
        self._refuse_what_no_kernel_can_index()
        reason = limits.refusal(self.cells, None)
        if reason:
            raise UsageError(reason)

    def _refuse_what_no_kernel_can_index(self) -> None:
        for pattern in self.patterns:
            for batch in self.batches:
                wide = max(pattern.rows, pattern.columns)
                if batch * wide >= MOST_ELEMENTS:
                    raise UsageError(
                        f"({pattern}) at batch {batch:,} has {batch * wide:,} elements, and a kernel indexes "
                        f"fewer than {MOST_ELEMENTS:,}; choose a batch under {MOST_ELEMENTS // wide:,}"
                    )

    def arguments(self) -> dict[str, object]:
        """The filters as a run stores them."""
        chosen = {
            "pattern": [str(pattern) for pattern in self.patterns],
            "batch": list(self.batches),
            "precision": list(self.precisions),
            "layout": list(self.layouts),
            "implementation": list(self.implementations),
            "counters": self.counters,
            "budget": f"{self.budget_minutes}m" if self.budget_minutes else None,
        }
        return {name: values for name, values in chosen.items() if values}


def read_patterns(text: str) -> tuple[Pattern, ...]:
    """The patterns typed or pasted, in their order, each once.

    One a line or apart by semicolons or brackets; columns of a spreadsheet are read too.

    Raises:
        UsageError: one of them is not four integers >= 1.
    """
    lines = [line.strip() for line in re.split(r"[\n;]+|(?<=[)\]])\s*,?\s*(?=[(\[])", text)]
    written = (re.sub(r"(?<=\d)\s+(?=\d)", ",", line) for line in lines if line)
    return tuple(dict.fromkeys(map(Pattern.parse, written)))


def read_batches(text: str) -> tuple[int, ...]:
    """The batches typed, apart by commas or spaces; each once.

    Raises:
        UsageError: one of them is not an integer >= 1.
    """
    words = re.split(r"[,;\s]+", text.strip())
    batches = []
    for word in filter(None, words):
        if not (word.isascii() and word.isdecimal()):
            raise UsageError(f"batch {word!r} is not an integer >= 1; try 1024")
        batches.append(Problem(Pattern(1, 1, 1, 1), int(word), PRECISIONS[0], LAYOUTS[0]).batch)
    return tuple(dict.fromkeys(batches))


def cost_text(cells: int | None, minutes: float | None, budget_minutes: int | None) -> str:
    """What a run will cost, in one sentence.

    Args:
        cells: that it has; None where that is not known.
        minutes: that they will take there; None where nothing was measured there yet.
        budget_minutes: after which it ends in any case.
    """
    size = (
        f"{cells:,} cells" if cells is not None else "The suite was never run here, so its size is not known"
    )
    if minutes is None:
        took = "nothing was measured on that device yet, so nobody knows how long they take"
    else:
        took = f"about {minutes:.1f} minutes by what a cell took there before"
    over = minutes is not None and budget_minutes is not None and minutes > budget_minutes
    end = f"; it ends after {budget_minutes} minutes in any case" if budget_minutes else ""
    left_out = ", and what does not fit is recorded as skipped" if over else ""
    return f"{size}: {took}{end}{left_out}."
