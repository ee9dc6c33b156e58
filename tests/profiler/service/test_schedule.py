"""When the nightly is due, by a clock that the test holds."""

from datetime import UTC, datetime, timedelta

import pytest

from kswatch.errors import ConfigurationError
from kswatch.profiler.service.schedule import missed, next_due, trigger

NIGHTLY = trigger("0 2 * * *", "UTC")


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
    monthly = trigger("30 4 1 * *", "UTC")
    assert missed(monthly, at("2026-01-01T04:30"), at("2026-02-28T00:00")) == at("2026-02-01T04:30")


def test_a_schedule_of_every_minute_is_searched_no_further_back_than_needed():
    every_minute = trigger("* * * * *", "UTC")
    now = at("2026-03-01T12:00") + timedelta(seconds=30)
    assert missed(every_minute, at("2020-01-01T00:00"), now) == at("2026-03-01T12:00")


def test_the_zone_decides_which_moment_two_oclock_is():
    in_paris = trigger("0 2 * * *", "Europe/Paris")
    assert next_due(in_paris, at("2026-01-10T00:00")) == at("2026-01-10T01:00")
    assert next_due(in_paris, at("2026-07-09T12:00")) == at("2026-07-10T00:00")


@pytest.mark.parametrize(
    ("expression", "zone"),
    [("0 2 * *", "UTC"), ("0 25 * * *", "UTC"), ("0 2 * * *", "Nowhere/Here"), ("", "UTC")],
)
def test_an_invalid_schedule_is_a_configuration_error(expression, zone):
    with pytest.raises(ConfigurationError, match="nightly_cron"):
        trigger(expression, zone)


def test_weekdays_are_named_since_their_numbers_are_ambiguous():
    assert next_due(trigger("0 2 * * sun", "UTC"), at("2026-03-02T00:00")) == at("2026-03-08T02:00")
    with pytest.raises(ConfigurationError, match="names"):
        trigger("0 2 * * 0", "UTC")


BERLIN = trigger("30 2 * * *", "Europe/Berlin")
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
    hourly = trigger("30 * * * *", "Europe/Berlin")
    assert len(nights(hourly, "2026-10-24T22:00", "2026-10-25T22:00")) == 24
