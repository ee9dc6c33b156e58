"""Limits of judging: the `[ci]` table of kswatch.toml."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from kswatch.db.config import Count, KeyRange, Share, check_ranges
from kswatch.errors import ConfigurationError
from kswatch.services import JudgementLimits

NoiseUnits = Annotated[float, KeyRange(1_000_000, above=0, unit="noise units")]


@dataclass(frozen=True)
class CiConfig:
    """Limits of the procedure in ci/README.md; the defaults are those of its simulations."""

    comparable_runs: Count = 10
    """The level is the median of at most this many comparable runs."""

    noise_runs: Count = 30
    """A series' noise is measured on at most this many comparable runs."""

    minimum_runs: Count = 3
    """With fewer comparable runs a series is `same`: too little history, never an alert."""

    floor: Share = JudgementLimits.floor
    """The smallest relative change that is called faster or slower."""

    noise_factor: NoiseUnits = 3.0
    """A change must exceed this many noise units of its series, and the floor."""

    confirm_units: NoiseUnits = 10.0
    """Noise units by which four series of a family confirm each other at once, and half of which confirm a
    pool; any other change must reproduce when the cells are measured again, or on the next nights."""

    false_discovery_rate: Share = 0.05
    """An alert opens on findings that are significant at this rate among all series of the night."""

    false_confirmation_rate: Share = 0.001
    """The share of quiet nights that may confirm a finding."""

    drift_floor: Share = 0.03
    """Change from the best level of 90 nights that is a drift, though no single night was significant."""

    confirm_minutes: Annotated[float, KeyRange(1440, least=0, unit="minutes")] = 10.0
    """The longest time to measure the flagged cells of one run again at once; 0 disables it."""

    bisect_minutes: Annotated[float, KeyRange(1440, least=0, unit="minutes")] = 20.0
    """The longest time after each night to search for the commits that caused confirmed regressions; 0
    disables it."""

    canary_floor: Share = JudgementLimits.canary_floor
    """Change of a canary from its own history beyond which the machine has changed, not the code."""

    silent_hours: Annotated[float, KeyRange(1_000_000, above=0, unit="hours")] = JudgementLimits.silent_hours
    """Hours without a nightly run after which a device has an alert on missing data."""

    stale_mute_days: Annotated[float, KeyRange(36_500, above=0, unit="days")] = 30.0
    """Days without a finding after which `alerts` and `check` list a muted alert as stale."""

    report_rows: Count = 20
    """Rows of a table in the text and Markdown reports; the others are counted."""

    def __post_init__(self) -> None:
        check_ranges("ci", self)
        if not 1 <= self.minimum_runs <= self.comparable_runs:
            raise ConfigurationError(
                f"ci.minimum_runs = {self.minimum_runs} must lie between 1 and ci.comparable_runs = "
                f"{self.comparable_runs}; change one of them in kswatch.toml"
            )

    @property
    def judgement_limits(self) -> JudgementLimits:
        """The limits that pages and the static report show too."""
        return JudgementLimits(self.silent_hours, self.canary_floor, self.floor)
