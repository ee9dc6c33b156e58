"""When the nightly is due, by a clock that the test holds."""

from collections import defaultdict
from datetime import UTC, date, datetime, timedelta
from functools import cache
from zoneinfo import ZoneInfo, available_timezones

import pytest

from kswatch.errors import ConfigurationError
from kswatch.profiler.service.schedule import missed, next_due, read_schedule

NIGHTLY = read_schedule("0 2 * * *", "UTC")


def at(text):
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def test_the_next_night_is_the_first_one_after_now():
    assert next_due(NIGHTLY, at("2026-03-01T01:59")) == at("2026-03-01T02:00")
    assert next_due(NIGHTLY, at("2026-03-01T02:00")) == at("2026-03-02T02:00")


def test_a_night_that_is_over_and_marked_is_not_missed():
    assert missed(NIGHTLY, at("2026-03-01T02:00"), at("2026-03-02T01:59")) is None


def test_three_missed_nights_are_caught_up_once():
    assert missed(NIGHTLY, at("2026-03-01T02:00"), at("2026-03-04T12:00")) == at("2026-03-04T02:00")


def test_a_monthly_schedule_is_found_weeks_back():
    monthly = read_schedule("30 4 1 * *", "UTC")
    assert missed(monthly, at("2026-01-01T04:30"), at("2026-02-28T00:00")) == at("2026-02-01T04:30")


def test_a_schedule_of_every_minute_is_searched_no_further_back_than_needed():
    every_minute = read_schedule("* * * * *", "UTC")
    now = at("2026-03-01T12:00") + timedelta(seconds=30)
    assert missed(every_minute, at("2020-01-01T00:00"), now) == at("2026-03-01T12:00")


def test_the_zone_decides_which_moment_two_oclock_is():
    in_paris = read_schedule("0 2 * * *", "Europe/Paris")
    assert next_due(in_paris, at("2026-01-10T00:00")) == at("2026-01-10T01:00")
    assert next_due(in_paris, at("2026-07-09T12:00")) == at("2026-07-10T00:00")


@pytest.mark.parametrize(
    ("expression", "zone"),
    [("0 2 * *", "UTC"), ("0 25 * * *", "UTC"), ("0 2 * * *", "Nowhere/Here"), ("", "UTC")],
)
def test_an_invalid_schedule_is_a_configuration_error(expression, zone):
    with pytest.raises(ConfigurationError, match="nightly_cron"):
        read_schedule(expression, zone)


def test_weekdays_are_named_since_their_numbers_are_ambiguous():
    assert next_due(read_schedule("0 2 * * sun", "UTC"), at("2026-03-02T00:00")) == at("2026-03-08T02:00")
    with pytest.raises(ConfigurationError, match="names"):
        read_schedule("0 2 * * 0", "UTC")


BERLIN = read_schedule("30 2 * * *", "Europe/Berlin")
"""Half past two, which the clocks skip on 29 March 2026 and repeat on 25 October."""


def nights(schedule, first, last):
    due, found = at(first), []
    while (due := next_due(schedule, due)) and due < at(last):
        found.append(due)
    return found


def test_every_night_has_its_run_where_the_clocks_skip_half_past_two():
    found = nights(BERLIN, "2026-03-27T12:00", "2026-03-31T12:00")
    assert len(found) == 4
    assert len({due.date() for due in found}) == 4
    assert found[0] == at("2026-03-28T01:30")  # UTC+1
    assert found[2] == at("2026-03-30T00:30")  # UTC+2


def test_the_night_that_repeats_half_past_two_has_one_run():
    found = nights(BERLIN, "2026-10-23T12:00", "2026-10-27T12:00")
    assert len(found) == 4
    assert len({due.date() for due in found}) == 4
    assert found[0] == at("2026-10-24T00:30")  # UTC+2
    assert found[-1] == at("2026-10-27T01:30")  # UTC+1


@pytest.mark.parametrize("day", ["2026-03-29", "2026-10-25"])
def test_a_server_that_checks_every_minute_of_such_a_night_finds_it_due_once(day):
    last = at(f"{day}T00:00") - timedelta(days=1) + timedelta(hours=3)
    found = []
    for minute in range(6 * 60):
        now = at(f"{day}T00:00") + timedelta(minutes=minute, seconds=7)
        due = missed(BERLIN, last, now)
        if due:
            found.append(due)
            last = due
    assert len(found) == 1


def test_a_clock_that_is_set_back_makes_no_night_due_again():
    marked = at("2026-03-05T02:00")
    assert missed(NIGHTLY, marked, at("2026-03-03T12:00")) is None


def test_an_hourly_schedule_is_due_in_both_hours_of_that_night():
    hourly = read_schedule("30 * * * *", "Europe/Berlin")
    assert len(nights(hourly, "2026-10-24T22:00", "2026-10-25T22:00")) == 24


@pytest.mark.parametrize("zone", ["Europe/Berlin", "America/New_York", "Australia/Sydney"])
def test_midnight_is_due_on_the_day_after_the_clocks_go_forward(zone):
    found = nights(read_schedule("0 0 * * *", zone), "2026-01-01T12:00", "2026-12-31T12:00")
    days = {due.astimezone(ZoneInfo(zone)).date() for due in found}
    assert len(found) == len(days) == 364


@pytest.mark.parametrize("expression", ["30 2 * * *", pytest.param("0 0 * * *", marks=pytest.mark.slow)])
def test_every_day_around_every_change_of_every_zone_in_ten_years_is_due_once(expression):
    for zone, days in sorted(days_around_changes().items()):
        schedule = read_schedule(expression, zone)
        for day in days:
            (due,) = schedule.on(day)
            before, after = due - timedelta(seconds=1), due + timedelta(seconds=1)
            assert next_due(schedule, before) == due, (zone, day)
            assert missed(schedule, before, after) == due, (zone, day)
            assert missed(schedule, due, after) is None, (zone, day)


@cache
def days_around_changes():
    """The days beside each change of each distinct zone, from 2016 to 2026; zones of equal changes once."""
    zones = {}
    for name in sorted(available_timezones()):
        zone, changes = ZoneInfo(name), []
        moments = [datetime(2016, 1, 1, 12, tzinfo=UTC) + timedelta(days=day) for day in range(4018)]
        offsets = [moment.astimezone(zone).utcoffset() for moment in moments]
        for before, after, moment in zip(offsets, offsets[1:], moments, strict=False):
            if before != after:
                changes.append((moment.date(), before, after))
        zones.setdefault(tuple(changes), name)
    days = defaultdict(list)
    for changes, name in zones.items():
        days[name] = sorted({day + timedelta(days=n) for day, _, _ in changes for n in (-1, 0, 1)})
    return days


def test_a_day_that_a_change_begins_at_midnight_is_due_when_it_begins():
    beirut = read_schedule("0 0 * * *", "Asia/Beirut")  # 00:00 becomes 01:00 on 29 March 2026
    assert beirut.on(date(2026, 3, 29)) == [at("2026-03-28T22:00")]


@pytest.mark.parametrize("expression", ["0 2 30 2 *", "0 2 31 4 *", "0 2 31 feb-feb *"])
def test_a_schedule_that_is_never_due_is_a_configuration_error(expression):
    with pytest.raises(ConfigurationError, match="never due"):
        read_schedule(expression, "UTC")


def test_a_leap_day_is_found_across_a_century_without_one():
    leap = read_schedule("0 2 29 2 *", "UTC")
    assert next_due(leap, at("2096-03-01T00:00")) == at("2104-02-29T02:00")
    assert missed(leap, at("2024-03-01T00:00"), at("2103-01-01T00:00")) == at("2096-02-29T02:00")


def test_the_end_of_the_calendar_has_no_next_night():
    assert next_due(NIGHTLY, datetime(9999, 12, 31, 23, tzinfo=UTC)) is None
