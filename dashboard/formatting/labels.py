"""Problems, devices, times and numbers as text."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import UTC, datetime

import pandas as pd

from kswatch.dashboard.formatting.code_urls import SHORT_COMMIT
from kswatch.db.metrics import METRIC_BY_NAME
from kswatch.db.queries.basic import DeviceRow, EnvironmentChange
from kswatch.db.records import ALL, EXPERT, PAPER, RevisionRecord

CAUSES: dict[str, str] = {
    "code": "code change",
    "baseline": "baseline change",
    "baseline_set": "baseline set change",
    "library": "library version change",
    "environment": "environment change",
    "canary": "machine drift",
    "throttled": "throttling",
    "clock": "clock change",
    "same_code": "noise (same code)",
    "drift": "gradual drift",
    "incorrect": "incorrect result",
    "heuristic": "heuristic accuracy",
    "silence": "missing data",
}
"""Labels of the stored causes of verdicts and alerts."""

AGAINST: dict[str, str] = {
    EXPERT: "the expert baselines",
    ALL: "all baselines of stock torch",
    PAPER: "the paper’s baselines",
}
"""The sets of baselines within a sentence."""

WORDS: dict[str, str] = {"batch_first": "batch first", "batch_last": "batch last"}

_SPECIAL = re.compile(r"([\\`*_{}\[\]()#+\-.!|<>~$:&@/^=\"'])")
_COMMAND = re.compile(r"(`kswatch [a-z0-9 ./=-]+`)", re.IGNORECASE)


def problem_labels(frame: pd.DataFrame) -> pd.Series:
    """The shortest labels that distinguish the frame's problems: the pattern, and whatever differs.

    Args:
        frame: `pattern`, `batch`, `precision`, `layout`.
    """
    label = frame["pattern"].astype(str)
    for column, before in (("batch", " ×"), ("precision", " "), ("layout", " ")):
        if frame[column].nunique() > 1:
            label = label + before + frame[column].astype(str)
    return label


def device_names(devices: list[DeviceRow]) -> dict[int, str]:
    """The model of each device, with the beginning of its UUID where two share a model."""
    models = [device.model for device in devices]
    return {
        device.id: device.model if models.count(device.model) == 1 else f"{device.model} {device.uuid[:12]}"
        for device in devices
    }


def metric_label(name: str) -> str:
    """The label of a metric; its name where this version does not know it."""
    return METRIC_BY_NAME[name].label if name in METRIC_BY_NAME else name


def cause_label(cause: str | None) -> str:
    """The label of a stored cause; the cause itself where this version does not know it."""
    return CAUSES.get(cause or "", cause or "")


def interval(low: float | None, high: float | None) -> str:
    """The bounds of a relative change, as +1.0 to +3.0 %; a dash where they are unknown."""
    if low is None or high is None or low != low or high != high:
        return "–"
    return f"{low * 100:+.1f} to {high * 100:+.1f} %"


def revision_label(revision: RevisionRecord | None) -> str | None:
    """The short commit, a mark of uncommitted changes, and the subject; None without a revision."""
    if revision is None:
        return None
    dirty = " dirty" if revision.dirty else ""
    return f"{revision.commit[:SHORT_COMMIT]}{dirty} {revision.subject or ''}".strip()


def change_list(changes: Iterable[EnvironmentChange]) -> str:
    """Changes of the environment in one line."""
    return "; ".join(f"{change.name} {change.before} → {change.after}" for change in changes)


def utc(moment: datetime) -> str:
    """The time to the minute, with its zone."""
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def age(moment: datetime, now: datetime) -> str:
    """The time since a moment, in the largest unit that fits."""
    seconds = max((now - moment).total_seconds(), 0)
    for unit, length in (("day", 86_400), ("hour", 3_600), ("minute", 60)):
        count = int(seconds // length)
        if count:
            return f"{count} {unit}{'s' if count > 1 else ''} ago"
    return "just now"


def duration(seconds: float | None) -> str:
    """A length of time as 45 s, 1.5 min, 15 min or 2 h 5 min; a dash where it is not known."""
    if seconds is None or seconds != seconds:
        return "–"
    if round(seconds) < 60:
        return f"{round(seconds)} s"
    minutes = round(seconds / 60)
    if minutes < 60:
        return f"{seconds / 60:.1f} min".replace(".0 ", " ") if seconds < 600 else f"{minutes} min"
    return f"{minutes // 60} h {minutes % 60} min".replace(" 0 min", "")


def percent(change: float | None) -> str:
    """A relative change with its sign, as +12.0 %."""
    return "–" if change is None or change != change else f"{change * 100:+.1f} %"


def share(part: float, digits: int = 0) -> str:
    """A part of a whole, as 58 %."""
    return f"{part * 100:.{digits}f} %"


def best_rule(name: str, accuracy: float, majority: float, problems: int) -> str:
    """The best heuristic against the majority baseline, all shares from 0 to 1."""
    baseline = f"majority baseline ({share(majority)} of {count(problems, 'problem')})"
    if accuracy <= majority:
        return f"No rule beats the {baseline}"
    return f"Best rule: {name}, {share(accuracy)} correct, against the {baseline}"


def ratio(value: float | None) -> str:
    """A ratio as 1.23×; a dash where there is none."""
    return "–" if value is None or value != value else f"{value:.2f}×"


def savings(saved_ms: float, saved_mj: float) -> str:
    """The time and energy that one product saves, or costs where negative; unknown energy is left out.

    As `saves 0.036 ms and 13 mJ`, `saves 0.036 ms but costs 2 mJ more`.
    """
    time = f"{'saves' if saved_ms >= 0 else 'costs'} {abs(saved_ms):.2g} ms"
    more = "" if saved_ms >= 0 else " more"
    if saved_mj != saved_mj:
        return time + more
    energy = f"{abs(saved_mj):.2g} mJ"
    if (saved_ms >= 0) == (saved_mj >= 0):
        return f"{time} and {energy}{more}"
    return (
        f"{time}{more} but {'saves' if saved_mj >= 0 else 'costs'} {energy}{'' if saved_mj >= 0 else ' more'}"
    )


def are_comparable(problems: int, others: int) -> bool:
    """Whether two medians are over nearly equal numbers of problems, and so can be compared."""
    return min(problems, others) >= 0.9 * max(problems, others)


def count(number: int, noun: str, plural: str = "") -> str:
    """The number with its noun; `plural` is the noun with an s by default."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def literal(text: object) -> str:
    """The text with every special character of Markdown, LaTeX and Streamlit directives escaped.

    Commands of kswatch in back quotes, as messages name them, stay code. Line breaks become spaces: a second
    line could begin a heading or a list.
    """
    parts = _COMMAND.split(" ".join(str(text).split()))
    parts[::2] = (_SPECIAL.sub(r"\\\1", part) for part in parts[::2])
    return "".join(parts)
