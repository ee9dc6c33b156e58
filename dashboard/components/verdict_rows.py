"""Verdicts as rows of a table."""

from __future__ import annotations

import pandas as pd

from kswatch.dashboard.formatting.labels import cause_label, interval, metric_label

MARKS = {"slower": "▼ slower", "faster": "▲ faster", "ambiguous": "? ambiguous"}
"""A sign before the word: nothing depends on colour alone."""


def readable(verdicts: pd.DataFrame) -> pd.DataFrame:
    """Verdicts with their metric and cause as text, and `between`, the interval of the change."""
    return verdicts.assign(
        verdict=verdicts["verdict"].map(MARKS),
        metric=verdicts["metric"].map(metric_label),
        cause=verdicts["cause"].map(cause_label),
        between=list(map(interval, verdicts["change_low"], verdicts["change_high"])),
    )
