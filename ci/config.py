"""How strict judging is: the `[ci]` table of kswatch.toml."""

from __future__ import annotations

from dataclasses import dataclass, fields

from kswatch.errors import ConfigurationError


@dataclass(frozen=True)
class CiConfig:
    """Limits of the rule in ci/README.md; the defaults are what was simulated there."""

    comparable_runs: int = 10
    """The level is the median of at most this many comparable runs."""

    noise_runs: int = 30
    """A series' noise is measured on at most this many comparable runs."""

    minimum_runs: int = 3
    """With fewer comparable runs a series is `same`: too little history, never an alert."""

    floor: float = 0.02
    """The smallest relative change that is ever called faster or slower."""

    noise_factor: float = 3.0
    """A change must exceed this many noise units of its series, and the floor."""

    confirm_units: float = 10.0
    """A series that changed by so many noise units may be confirmed at once, a pool by half as many; a
    smaller change must be found again, by measuring the cells once more or on the next nights."""

    false_discovery_rate: float = 0.05
    """An alert opens on what stands at this rate when all series of the night are looked at together."""

    false_confirmation_rate: float = 0.001
    """A finding is confirmed when it stands at this rate: so often may a quiet night confirm anything."""

    drift_floor: float = 0.03
    """A level further than this from the best of 90 nights has drifted, though no night stood out."""

    confirm_minutes: float = 10.0
    """So long, at most, the flagged cells of one run are measured again at once; 0 leaves it out."""

    canary_floor: float = 0.05
    """A canary further than this from its own history says that the machine moved, not the code."""

    silent_hours: float = 60.0
    """A device without a nightly run for so long is an alert of its own: silence looks like quiet."""

    stale_mute_days: float = 30.0
    """A muted alert of which nothing was seen for so long is named by `alerts` and `check`."""

    report_rows: int = 20
    """Rows that a table of the text and Markdown reports shows; the rest is counted."""

    def __post_init__(self) -> None:
        if not 1 <= self.minimum_runs <= self.comparable_runs:
            raise ConfigurationError(
                f"ci.minimum_runs = {self.minimum_runs} must lie between 1 and ci.comparable_runs = "
                f"{self.comparable_runs}; change one of them in kswatch.toml"
            )
        for field in fields(self):
            if getattr(self, field.name) <= 0 and field.name != "confirm_minutes":
                raise ConfigurationError(f"ci.{field.name} = {getattr(self, field.name)} must be above 0")
