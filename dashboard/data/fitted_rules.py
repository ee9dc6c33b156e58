"""The rules that were fitted to measurements of a device, for which a score there is optimistic."""

from __future__ import annotations

from contextlib import suppress

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
