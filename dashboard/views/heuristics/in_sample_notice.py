"""The notice on rules that were fitted to the measurements that they are scored on."""

from __future__ import annotations

from collections.abc import Sequence

from kswatch.dashboard.components.panels import note


def show_in_sample_notice(rules: Sequence[str], model: str) -> None:
    """Draw the notice on these rules, if there are any."""
    if rules:
        note(
            f"{' and '.join(rules)} were fitted to measurements of {model}: their scores here are optimistic "
            "and lead no title; kswatch heuristics score --held-out uses problems left out of the fit."
        )
