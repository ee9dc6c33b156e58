"""When the nightly is due: pure functions of a cron expression, a time zone and a clock.

A schedule is a set of wall-clock times on a set of days, walked day by day and converted to UTC. Where
clocks are set forward, a time that does not exist is due at the moment of the change; where they are set
back, a time that exists twice is due the first time. So each day has its night once, whatever the zone does.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import cached_property
from itertools import product
from zoneinfo import ZoneInfo

from apscheduler.triggers.cron import CronTrigger

from kswatch.errors import ConfigurationError

_LONGEST_DAYS = 9 * 366
"""Between two 29ths of February there are at most eight years."""
_DAY = timedelta(days=1)


@dataclass(frozen=True)
class Schedule:
    """The due times of a cron expression in one time zone."""

    cron: CronTrigger
    zone: ZoneInfo

    @cached_property
    def times(self) -> tuple[time, ...]:
        """The times of a day that is due, by the wall clock."""
        hours = (hour for hour in range(24) if self._matches("hour", datetime(2000, 1, 1, hour)))
        minutes = [minute for minute in range(60) if self._matches("minute", datetime(2000, 1, 1, 0, minute))]
        return tuple(time(hour, minute) for hour, minute in product(hours, minutes))

    @cached_property
    def is_hourly(self) -> bool:
        """Whether every hour of the day is due: a skipped one is left out then, a repeated one due twice."""
        return len({due.hour for due in self.times}) == 24

    def on(self, day: date) -> list[datetime]:
        """The due times of a day of the wall clock, in UTC, in order."""
        fields = ("month", "day", "day_of_week")
        if not all(self._matches(name, datetime.combine(day, time())) for name in fields):
            return []
        return sorted({moment for due in self.times for moment in self._moments(datetime.combine(day, due))})

    def _moments(self, wall: datetime) -> Iterator[datetime]:
        first, second = (wall.replace(tzinfo=self.zone, fold=fold).astimezone(UTC) for fold in (0, 1))
        exists = first.astimezone(self.zone).replace(tzinfo=None) == wall
        if exists:
            yield first
        elif not self.is_hourly:
            yield _clock_change(self.zone, second, first)
        if exists and self.is_hourly:
            yield second

    def _matches(self, name: str, moment: datetime) -> bool:
        field = next(field for field in self.cron.fields if field.name == name)
        return bool(field.get_next_value(moment) == field.get_value(moment))


def _clock_change(zone: ZoneInfo, before: datetime, after: datetime) -> datetime:
    """The first second of the zone's new offset between two moments, which the change lies between."""
    former = before.astimezone(zone).utcoffset()
    while after - before > timedelta(seconds=1):
        middle = before + timedelta(seconds=(after - before).total_seconds() // 2)
        if middle.astimezone(zone).utcoffset() == former:
            before = middle
        else:
            after = middle
    return after


def read_schedule(expression: str, timezone: str) -> Schedule:
    """The schedule of the configuration.

    Raises:
        ConfigurationError: no such expression or time zone, or one that is never due; days of the week must
            be names, since their numbers mean different days in different crons.
    """
    weekdays = "".join(expression.split()[4:]).partition("/")[0]
    if any(letter.isdigit() for letter in weekdays):
        raise ConfigurationError(
            f"profiler.nightly_cron = {expression!r}: write days of the week as names, as in 0 2 * * mon-fri"
        )
    try:
        zone = ZoneInfo(timezone)
        schedule = Schedule(CronTrigger.from_crontab(expression, timezone=zone), zone)
    except (ValueError, KeyError, OSError) as error:
        raise ConfigurationError(
            f"profiler.nightly_cron = {expression!r} in zone {timezone!r} is not a valid schedule: {error}; "
            "write minute hour day month weekday, as in 0 2 * * *"
        ) from error
    if next_due(schedule, datetime(2000, 1, 1, tzinfo=UTC)) is None:
        raise ConfigurationError(
            f"profiler.nightly_cron = {expression!r} is never due: no such day exists; "
            "write minute hour day month weekday, as in 0 2 * * *"
        )
    return schedule


def next_due(schedule: Schedule, after: datetime) -> datetime | None:
    """The first due time after that moment, in UTC; None where the calendar ends before one."""
    return next(
        (due for day in _days(schedule, after, _DAY) for due in schedule.on(day) if due > after), None
    )


def missed(schedule: Schedule, last: datetime, now: datetime) -> datetime | None:
    """The newest time that was due after `last`, up to `now`: nights missed in between count once."""
    for day in _days(schedule, now, -_DAY):
        newest = [due for due in schedule.on(day) if due <= now]
        if newest:
            return newest[-1] if newest[-1] > last else None
    return None


def _days(schedule: Schedule, moment: datetime, step: timedelta) -> Iterator[date]:
    """Days of the wall clock from a day on the other side of the moment on: an offset is at most a day."""
    try:
        day = moment.astimezone(schedule.zone).date() - step
        for count in range(_LONGEST_DAYS):
            yield day + count * step
    except OverflowError:
        return  # the calendar ends
