"""The notice that a rule was fitted to the measurements that it is scored on."""

from __future__ import annotations

from collections.abc import Collection
from contextlib import suppress

from kswatch.dashboard.components.panels import note
from kswatch.errors import ConfigurationError
from kswatch.kernels.heuristics.model_file import learned_sections


def show_in_sample_notice(models: Collection[str], metric: str, precision: str, layout: str) -> None:
    """Draw the notice where `cost_model` and `learned` were fitted to one of these models of devices."""
    fitted: set[str] = set()
    with suppress(ConfigurationError):  # an unreadable file holds no fitted rule
        fitted = {
            str(section.device.get("model"))
            for section in learned_sections()
            if (section.metric, section.precision, section.layout) == (metric, precision, layout)
        }
    if fitted := fitted & set(models):
        note(
            f"cost_model and learned were fitted to measurements of {', '.join(sorted(fitted))}, "
            "so their scores here are optimistic; kswatch heuristics score --held-out uses problems "
            "left out of the fit."
        )
