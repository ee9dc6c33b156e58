"""Two days of a simulated clock that jumps, sleeps, and changes to summer time and back: each night once."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as some

from kswatch.db.queries import basic as queries
from kswatch.db.request_queue import requests
from kswatch.db.store import Store
from kswatch.profiler.config import ProfilerConfig
from kswatch.profiler.service.server import Server
from tests.profiler.conftest import Scripted

Start = tuple[str, tuple[int, int], datetime]
UTC_NOON: Start = ("UTC", (2, 30), datetime(2026, 2, 27, 12))
NOONS: list[Start] = [
    ("Europe/Berlin", (2, 30), datetime(2026, 3, 28, 12)),
    ("Europe/Berlin", (2, 30), datetime(2026, 10, 24, 12)),
    ("America/New_York", (2, 30), datetime(2026, 3, 7, 12)),
    ("America/New_York", (1, 30), datetime(2026, 10, 31, 12)),
    ("Australia/Lord_Howe", (2, 15), datetime(2026, 10, 3, 12)),  # by half an hour
    ("Australia/Lord_Howe", (1, 45), datetime(2026, 4, 4, 12)),
    ("Antarctica/Troll", (2, 30), datetime(2026, 3, 28, 12)),  # by two hours
    ("Antarctica/Troll", (2, 30), datetime(2026, 10, 24, 12)),
    ("America/Havana", (0, 30), datetime(2026, 3, 7, 12)),  # at midnight
    ("America/Havana", (0, 30), datetime(2026, 10, 31, 12)),
    ("Asia/Beirut", (0, 30), datetime(2026, 3, 28, 12)),
    ("Asia/Beirut", (23, 30), datetime(2026, 10, 24, 12)),  # from midnight back into the day before
    ("Africa/Casablanca", (2, 30), datetime(2026, 2, 14, 12)),
    ("Africa/Casablanca", (2, 30), datetime(2026, 3, 21, 12)),
    UTC_NOON,
    ("UTC", (2, 30), datetime(2026, 12, 30, 12)),
]
"""Zone, due time, and by the clock of the zone a noon before its clocks change, or a month or year ends.

Where clocks change, the due time exists not once, or twice.
"""
LASTING = timedelta(hours=48)
JUMPS_S = [1, 3, 59, 600, 3600, 5 * 3600, 26 * 3600, 50 * 3600, 40 * 86400, 365 * 86400, 11 * 365 * 86400]

steps = some.one_of(
    some.tuples(some.just("polls"), some.integers(1, 14)),
    some.tuples(some.just("sleeps"), some.integers(1, 30)),
    some.tuples(some.just("jumps"), some.sampled_from([sign * s for s in JUMPS_S for sign in (1, -1)])),
    some.tuples(some.just("is corrected"), some.just(0)),
)
starts = some.sampled_from(NOONS)


class Host:
    """A server in one zone, and a clock that is wrong by `offset`."""

    def __init__(self, store: Store, zone: str, due: tuple[int, int], start: datetime) -> None:
        self.zone = ZoneInfo(zone)
        self.true = start.replace(tzinfo=self.zone).astimezone(UTC)
        self.start = self.true
        self.offset = timedelta()
        self.store = store
        self.due = hour, minute = due
        config = ProfilerConfig(devices=("cpu",), nightly_cron=f"{minute} {hour} * * *", timezone=zone)
        self.server = Server(store, Scripted().context(config=config), lambda run_id: None, self.clock)
        self.server.request_due_nightly()

    def clock(self) -> datetime:
        return self.true + self.offset

    def nights(self) -> list[date]:
        """The days of the zone whose nights were asked for."""
        asked = [request.why or "" for request in queries.requests(self.store, limit=None)]
        times = [datetime.strptime(why, "nightly due at %Y-%m-%d %H:%M UTC") for why in asked]
        return [at.replace(tzinfo=UTC).astimezone(self.zone).date() for at in times]

    def newest_due(self) -> date | None:
        """The newest day since the start whose night was due an hour ago, by either offset of the zone."""
        local = (self.true - timedelta(hours=1)).astimezone(self.zone)
        was_due = (local.hour, local.minute) >= self.due
        newest = local.date() - timedelta(days=not was_due)
        return newest if newest >= self.first_night() else None

    def first_night(self) -> date:
        """The day of the zone whose night is the first to be due after noon."""
        today = self.start.astimezone(self.zone)
        return today.date() + timedelta(days=(today.hour, today.minute) >= self.due)

    def poll(self, hours: int) -> None:
        for _ in range(3 * hours):
            self.true += timedelta(minutes=20)
            self.server.request_due_nightly()
            for request in queries.requests(self.store, states=("queued",), limit=None):
                requests.finish(self.store, request.id)
            if not self.offset:
                today, newest = self.true.astimezone(self.zone).date(), self.newest_due()
                # nights that were slept through count once, as the newest of them
                assert not newest or any(newest <= night <= today for night in self.nights()), "left out"


def assert_each_night_once(host: Host, story: list[tuple[str, int]]) -> None:
    """Live through the steps, and then with a right clock to the end of the two days: no night twice."""
    for step, amount in story:
        if step == "polls":
            host.poll(amount)
        elif step == "sleeps":
            host.true += timedelta(hours=amount)
        elif step == "jumps":
            host.offset += timedelta(seconds=amount)
        else:
            host.offset = timedelta()
        if host.true - host.start > LASTING:
            break
    host.offset = timedelta()
    host.poll(1)
    while host.true - host.start < LASTING:
        host.poll(1)
    assert len(host.nights()) == len(set(host.nights())), "a night was asked for twice"


@pytest.mark.parametrize(
    "examples", [12, pytest.param(400, marks=[pytest.mark.slow, pytest.mark.timeout(3600)])]
)
def test_each_due_night_is_asked_for_once_whatever_the_clock_does(new_store, examples):
    @settings(max_examples=examples, deadline=None, derandomize=True, database=None, phases=[Phase.generate])
    @given(starts, some.lists(steps, max_size=12))
    def assert_every_story(
        start: tuple[str, tuple[int, int], datetime], story: list[tuple[str, int]]
    ) -> None:
        assert_each_night_once(Host(new_store(), *start), story)

    assert_every_story()


@pytest.mark.parametrize("start", NOONS)
def test_with_a_right_clock_both_nights_are_asked_for_where_clocks_change(new_store, start):
    host = Host(new_store(), *start)
    assert_each_night_once(host, [])
    assert sorted(host.nights()) == [host.first_night(), host.first_night() + timedelta(days=1)]


def test_two_servers_whose_clocks_are_years_apart_ask_for_no_night_twice(new_store):
    store = new_store()
    right = Host(store, *UTC_NOON)
    wrong = Host(store, *UTC_NOON)
    wrong.offset = timedelta(days=4000)
    for _ in range(48):
        wrong.poll(1)
        right.poll(1)
    assert len(right.nights()) == len(set(right.nights()))
    assert {date(2026, 2, 28), date(2026, 3, 1)} <= set(right.nights())


def test_a_clock_that_is_behind_at_boot_repeats_no_night(new_store):
    host = Host(new_store(), *UTC_NOON)
    assert_each_night_once(
        host, [("polls", 14), ("polls", 6), ("jumps", -11 * 365 * 86400), ("polls", 1), ("is corrected", 0)]
    )
    assert sorted(host.nights()) == [date(2026, 2, 28), date(2026, 3, 1)]
