from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest
from typer.testing import CliRunner

from kswatch.ci.cli.history import app
from kswatch.ci.config import CiConfig
from kswatch.ci.regression.series_levels import rebuild_levels
from kswatch.db.levels.lasting_changes import lasting_changes
from kswatch.db.queries.basic import devices
from tests.ci.nights import PROBLEMS, Nights
from tests.kswatch.sample_services import sample_services

LONG_AGO = datetime(2000, 1, 1, tzinfo=UTC)


def changes_of(store, **only):
    (device,) = devices(store)
    rebuild_levels(store, device, CiConfig())
    found = lasting_changes(store, device, LONG_AGO, CiConfig().floor)
    return [one for one in found if all(getattr(one, name) == value for name, value in only.items())]


def test_quiet_nights_have_no_lasting_change(store):
    Nights(store).quiet(40)
    assert changes_of(store) == []


def test_a_planted_change_is_one_entry_with_its_commits_size_and_series(store):
    nights = Nights(store)
    before = nights.quiet(25)
    after = nights.quiet(15, factors={"fused": 1.1})
    (found,) = changes_of(store, implementation="fused", metric="latency_ms")
    assert (found.last_good.id, found.since.id) == (before[-1], after[0])
    assert (found.verdict, found.state, len(found.series)) == ("slower", "lasting", len(PROBLEMS))
    for one in found.series:
        assert one.change == pytest.approx(0.1, abs=0.01)
        assert one.change_low < one.change < one.change_high


def test_a_change_that_was_taken_back_is_recovered_and_its_end_is_no_entry(store):
    nights = Nights(store)
    nights.quiet(25)
    nights.quiet(14, factors={"fused": 1.1})
    fixed = nights.quiet(16)
    (found,) = changes_of(store, implementation="fused", metric="latency_ms")
    assert (found.state, found.recovered.id) == ("recovered", fixed[0])


def test_a_change_with_a_new_environment_is_attributed_to_it(store):
    nights = Nights(store)
    nights.quiet(25)
    nights.quiet(15, factors={"fused": 1.1, "bmm": 1.1, "dense": 1.1}, driver="560.2")
    assert {one.cause for one in changes_of(store, metric="latency_ms")} == {"environment"}


def test_nights_of_a_throttled_device_are_no_change(store):
    nights = Nights(store)
    nights.quiet(25)
    hot = {("fused", problem): ["thermal_slowdown"] for problem in PROBLEMS}
    nights.quiet(10, factors={"fused": 1.2}, flags=hot)
    nights.quiet(10)
    assert changes_of(store, implementation="fused", metric="latency_ms") == []


def history(store, *arguments: str) -> str:
    result = CliRunner().invoke(app, list(arguments), obj=sample_services(str(store.engine.url)))
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.stdout


def test_the_command_lists_the_changes_of_the_named_days_as_text_and_as_json(store):
    nights = Nights(store)
    nights.quiet(25)
    after = nights.quiet(15, factors={"fused": 1.1})
    days = str((datetime.now(UTC) - datetime(2025, 12, 1, tzinfo=UTC)).days)
    assert json.loads(history(store, "--days", days, "--json")) == []
    document = json.loads(history(store, "--days", days, "--rebuild", "--json"))
    (slower,) = [one for one in document if one["metric"] == "latency_ms"]
    assert (slower["since_run"], slower["state"], slower["cause"]) == (after[0], "lasting", "not alerted")
    assert len(slower["series"]) == len(PROBLEMS)
    assert f"since run {after[0]}, commits " in history(store, "--days", days)


def test_changes_before_the_named_days_are_left_out(store):
    nights = Nights(store)
    nights.quiet(25)
    nights.quiet(15, factors={"fused": 1.1})
    assert history(store, "--days", "1", "--rebuild") == "no lasting change in the last 1 days\n"
