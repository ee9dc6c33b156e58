"""Rules that were fitted to the very measurements that they are scored on: said wherever they are scored."""

from __future__ import annotations

from collections.abc import Collection
from contextlib import suppress

from kswatch.dashboard.components.panels import note
from kswatch.errors import ConfigurationError
from kswatch.kernels.heuristics.model_file import learned_sections


def tell_fitted(models: Collection[str], metric: str, precision: str, layout: str) -> None:
    """Say so where `cost_model` and `learned` were fitted to one of these devices.

    Args:
        models: of the devices that rules are scored on.
        metric: `latency` or `energy`.
        precision: of the problems.
        layout: of the problems.
    """
    fitted = _fitted_models(metric, precision, layout) & set(models)
    if fitted:
        note(
            f"cost_model and learned were fitted to measurements of {', '.join(sorted(fitted))} "
            "and so flatter themselves here; kswatch heuristics score --held-out keeps each problem's block "
            "from them."
        )


def _fitted_models(metric: str, precision: str, layout: str) -> set[str]:
    about = (metric, precision, layout)
    with suppress(ConfigurationError):  # a file that cannot be read has fitted nothing
        return {
            str(section.device.get("model"))
            for section in learned_sections()
            if (section.metric, section.precision, section.layout) == about
        }
    return set()
