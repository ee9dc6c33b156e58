"""Causes of verdicts and alerts, as they are stored, and what follows from each."""

from __future__ import annotations

from typing import Literal

Cause = Literal[
    "code",
    "baseline",
    "baseline_set",
    "library",
    "environment",
    "canary",
    "throttled",
    "clock",
    "same_code",
    "drift",
    "incorrect",
    "heuristic",
    "silence",
]
"""The likeliest cause of a change: verdicts have the first ten, alerts may have any.

`code` is fused's own code, `baseline` another implementation's; `baseline_set` means other members of the
expert set, `library` another version of a rival's library; `drift` is a slow loss over many nights;
`incorrect` a wrong result, `heuristic` a rule that predicts worse, `silence` data that stopped coming.
"""

LEVEL_CAUSES: frozenset[str] = frozenset({"code", "baseline"})
"""Causes of a new level in a series. Chance can look the same, so these are reported once confirmed."""

DETECTED_CAUSES: frozenset[str] = LEVEL_CAUSES | {"drift"}
"""Causes that the detector infers from a series alone, so that they can be false alarms."""
