"""How problems, devices, times and changes are named to people."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pandas as pd

from kswatch.db.metrics import METRIC_BY_NAME
from kswatch.db.queries.basic import DeviceRow

WORDS: dict[str, str] = {"batch_first": "batch first", "batch_last": "batch last"}


def problem_labels(frame: pd.DataFrame) -> pd.Series:
    """The shortest label that keeps the frame's problems apart: the pattern, and what else differs.

    Args:
        frame: `pattern`, `batch`, `precision`, `layout`.
    """
    label = frame["pattern"].astype(str)
    for column, before in (("batch", " ×"), ("precision", " "), ("layout", " ")):
        if frame[column].nunique() > 1:
            label = label + before + frame[column].astype(str)
    return label


def device_names(devices: list[DeviceRow]) -> dict[int, str]:
    """Each device's model; with the beginning of its UUID where two are of one model."""
    models = [device.model for device in devices]
    return {
        device.id: device.model if models.count(device.model) == 1 else f"{device.model} {device.uuid[:12]}"
        for device in devices
    }


def metric_label(name: str) -> str:
    """A metric for people; its name where this version does not know it."""
    return METRIC_BY_NAME[name].label if name in METRIC_BY_NAME else name


def utc(moment: datetime) -> str:
    """The time to the minute, with its zone."""
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def age(moment: datetime, now: datetime) -> str:
    """How long ago, in the largest unit that fits."""
    seconds = max((now - moment).total_seconds(), 0)
    for unit, length in (("day", 86_400), ("hour", 3_600), ("minute", 60)):
        count = int(seconds // length)
        if count:
            return f"{count} {unit}{'s' if count > 1 else ''} ago"
    return "just now"


def duration(seconds: float | None) -> str:
    """A length of time for a table; a dash where it is not known."""
    if seconds is None or seconds != seconds:
        return "–"
    return str(timedelta(seconds=round(seconds)))


def percent(change: float | None) -> str:
    """A relative change with its sign, as +12.0 %."""
    return "–" if change is None or change != change else f"{change * 100:+.1f} %"


def share(part: float, digits: int = 0) -> str:
    """A part of a whole, as 58 %."""
    return f"{part * 100:.{digits}f} %"


def ratio(value: float | None) -> str:
    """A ratio with its sign of multiplication; a dash where there is none."""
    return "–" if value is None or value != value else f"{value:.2f}×"


def are_as_many(problems: int, others: int) -> bool:
    """Whether two medians over so many problems may be set side by side as of the same ones."""
    return min(problems, others) >= 0.9 * max(problems, others)


def count(number: int, noun: str, plural: str = "") -> str:
    """The number with its noun, in the plural (`noun` and an s by default) where it is not one."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"
