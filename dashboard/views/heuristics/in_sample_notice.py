"""The rules that were fitted to the measurements that they are scored on, and the notice about them."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

from kswatch.dashboard.components.panels import note
from kswatch.errors import ConfigurationError
from kswatch.kernels.heuristics.model_file import learned_sections

FITTED = ("cost_model", "learned")
"""Rules that are fitted to measurements; the others have thresholds of their own."""


def in_sample_rules(model: str, metric: str, precision: str, layout: str) -> tuple[str, ...]:
    """The rules that were fitted to measurements of this model of device, for which a score is optimistic."""
    with suppress(ConfigurationError):  # an unreadable file holds no fitted rule
        for section in learned_sections():
            about = (section.metric, section.precision, section.layout, section.device.get("model"))
            if about == (metric, precision, layout, model):
                return FITTED
    return ()


def show_in_sample_notice(rules: Sequence[str], model: str) -> None:
    """Draw the notice on these rules, if there are any."""
    if rules:
        note(
            f"{' and '.join(rules)} were fitted to measurements of {model}: their scores here are optimistic "
            "and lead no title; kswatch heuristics score --held-out uses problems left out of the fit."
        )
