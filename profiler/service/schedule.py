"""When the nightly is due: pure functions of a cron expression, a time zone and a clock."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from apscheduler.triggers.cron import CronTrigger

from kswatch.errors import ConfigurationError

_SPANS = (timedelta(hours=1), timedelta(days=2), timedelta(days=40), timedelta(days=400))


def trigger(expression: str, timezone: str) -> CronTrigger:
    """The schedule of the configuration.

    Raises:
        ConfigurationError: no such expression or time zone; days of the week must be names, since
            their numbers mean different days in different crons.
    """
    weekdays = "".join(expression.split()[4:]).partition("/")[0]
    if any(letter.isdigit() for letter in weekdays):
        raise ConfigurationError(
            f"profiler.nightly_cron = {expression!r}: write days of the week as names, as in 0 2 * * mon-fri"
        )
    try:
        return CronTrigger.from_crontab(expression, timezone=ZoneInfo(timezone))
    except (ValueError, KeyError, OSError) as error:
        raise ConfigurationError(
            f"profiler.nightly_cron = {expression!r} in zone {timezone!r} is not a valid schedule: {error}; "
            "write minute hour day month weekday, as in 0 2 * * *"
        ) from error


def next_due(schedule: CronTrigger, after: datetime) -> datetime | None:
    """The first due time after that moment, in UTC; None if there is none.

    Where clocks are set back, an hour repeats: a schedule that names an hour is due the first time.
    """
    due = _after(schedule, after)
    while due and _is_repeated(schedule, due):
        due = _after(schedule, due)
    return due


def _after(schedule: CronTrigger, moment: datetime) -> datetime | None:
    # in UTC: adding to a local time of the repeated hour would return to its first pass for ever
    due = schedule.get_next_fire_time(None, moment.astimezone(UTC) + timedelta(microseconds=1))
    return due.astimezone(UTC) if due else None


def _is_repeated(schedule: CronTrigger, due: datetime) -> bool:
    hours = next(str(field) for field in schedule.fields if field.name == "hour")
    return not hours.startswith("*") and due.astimezone(schedule.timezone).fold == 1


def missed(schedule: CronTrigger, last: datetime, now: datetime) -> datetime | None:
    """The newest time that was due after `last`, up to `now`: nights missed in between count once."""
    for span in _SPANS:
        due = next_due(schedule, now - span)
        newest = None
        while due and due <= now:
            newest, due = due, next_due(schedule, due)
        if newest:
            return newest if newest > last else None
    return None
