"""When the nightly is due, by a clock that the test holds."""

from datetime import UTC, datetime, timedelta

import pytest

from kswatch_errors import ConfigurationError
from profiler.schedule import missed, next_due, trigger

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


def test_a_schedule_of_every_minute_looks_no_further_back_than_needed():
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
def test_what_is_no_schedule_is_a_configuration_error(expression, zone):
    with pytest.raises(ConfigurationError, match="nightly_cron"):
        trigger(expression, zone)


def test_weekdays_are_named_since_their_numbers_are_ambiguous():
    assert next_due(trigger("0 2 * * sun", "UTC"), at("2026-03-02T00:00")) == at("2026-03-08T02:00")
    with pytest.raises(ConfigurationError, match="names"):
        trigger("0 2 * * 0", "UTC")
