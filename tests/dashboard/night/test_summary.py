"""What the first line of the night page counts, on nights with planted alerts."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import update

from kswatch.dashboard.night.device_markup import matrix
from kswatch.dashboard.night.summary import Night, facts_line, headline, read_night, rules_line
from kswatch.db.alerts import lifecycle
from kswatch.db.alerts.lifecycle import NewAlert
from kswatch.db.queries import basic as queries
from kswatch.db.schema.tables import Canary, Device, Measurement
from kswatch.db.store import Store
from kswatch.kernels.heuristics.model_file import learned_sections
from kswatch.services import JudgementLimits
from tests.dashboard.simulated_store import FIRST_NIGHT, Plan, fill

LIMITS = JudgementLimits()
NIGHTS = 6
LAST = FIRST_NIGHT + timedelta(days=NIGHTS - 1)
Filled = Callable[..., Store]


@pytest.fixture
def filled(own_url: str) -> Filled:
    def fill_nights(**plan: object) -> Store:
        store = Store.open(own_url)
        given = {
            "devices": ("sim-a100",),
            "nights": NIGHTS,
            "patterns": 2,
            "precisions": ("fp32",),
            "samples": 2,
        }
        fill(store, Plan(**given | plan))  # type: ignore[arg-type]
        return store

    return fill_nights


def night_of(store: Store) -> Night:
    night = read_night(store)
    assert night is not None
    return night


def line(store: Store) -> str:
    return headline(night_of(store), ZoneInfo("UTC"))


def facts(store: Store, now: datetime) -> dict[str, bool]:
    return dict(facts_line(night_of(store), LIMITS, now))


def test_a_change_of_the_night_is_new(filled: Filled) -> None:
    assert line(filled(regression_night=NIGHTS - 1)) == "Night of 10 Jan: 1 new alert"


def test_what_is_merely_still_off_its_level_is_not_new(filled: Filled) -> None:
    store = filled(regression_night=NIGHTS - 2)
    newest = queries.runs(store, limit=1)[0]
    again = NewAlert(
        newest.device_id, newest.id, "slower", "code", "latency_ms", "fused", "slower again", 0.12
    )
    lifecycle.record_recurrence(store, 1, again)
    assert line(store) == "Night of 10 Jan: nothing new, 1 known (1 open)"
    lifecycle.act(store, 1, "acknowledge", "alice", None, queries.alert(store, 1).version)
    assert line(store) == "Night of 10 Jan: nothing new, 1 known (1 acknowledged by alice)"
    lifecycle.act(store, 1, "assign", "alice", None, queries.alert(store, 1).version, assigned_to="bob")
    assert line(store) == "Night of 10 Jan: nothing new, 1 known (1 acknowledged by bob)"


def test_a_cause_that_the_night_does_not_show_has_recovered(filled: Filled) -> None:
    store = filled(regression_night=NIGHTS - 2)
    lifecycle.record_clean_run(store, 1, NIGHTS)
    assert line(store) == "Night of 10 Jan: nothing new, 1 recovered"


def test_a_provisional_alert_that_closed_by_itself_is_neither_new_nor_recovered(filled: Filled) -> None:
    store = filled(regression_night=NIGHTS - 1)
    lifecycle.dismiss(store, 1, "not seen again")
    assert line(store) == "Night of 10 Jan: nothing new"


def test_an_improvement_is_no_new_alert(filled: Filled) -> None:
    store = filled()
    newest = queries.runs(store, limit=1)[0]
    faster = NewAlert(newest.device_id, newest.id, "faster", "code", "latency_ms", "fused", "faster", -0.1)
    lifecycle.accept_as_level(store, lifecycle.open_alert(store, faster), "the new level")
    assert line(store) == "Night of 10 Jan: nothing new, 1 improvement"


def test_a_quiet_night_is_all_good_news_and_its_device_calm(filled: Filled) -> None:
    store = filled()
    now = LAST + timedelta(hours=5)
    assert facts(store, now) == {
        "4 hours ago": True,
        "1 of 1 device reported": True,
        "canaries within 5 % of their level": True,
        "0 cells wrong": True,
        "0 not measured": True,
    }
    night = night_of(store)
    assert night.calm_devices(LIMITS, now) == night.devices


def test_a_device_that_did_not_report_and_a_fallen_canary_are_bad_news(filled: Filled) -> None:
    store = filled(devices=("sim-a100", "sim-h200"), nights=4)
    fill(store, Plan(devices=("sim-a100",), nights=1, patterns=2, precisions=("fp32",), first_night=LAST))
    newest = queries.runs(store, limit=1)[0].id
    with store.writing() as session:
        fallen = update(Canary).where(Canary.run_id == newest)
        session.execute(fallen.values(rate=Canary.rate / 6, other_cpu_share=0.4))
    found = facts(store, LAST + timedelta(hours=5))
    assert found["1 of 2 devices reported"] is False
    assert found["canaries moved on Simulated A100"] is False
    night = night_of(store)
    assert night.calm_devices(LIMITS, LAST) == ()
    (moved,) = [device for device in night.devices if device.has_moved(LIMITS)]
    assert "other programs used up to 40 % of the CPU" in matrix([moved], LIMITS, LAST)


def test_wrong_cells_and_cells_that_are_gone_are_counted(filled: Filled) -> None:
    store = filled(nights=3)
    fill(store, Plan(devices=("sim-a100",), nights=1, patterns=1, precisions=("fp32",), first_night=LAST))
    newest = queries.runs(store, limit=1)[0].id
    with store.writing() as session:
        wrong = update(Measurement).where(Measurement.run_id == newest, Measurement.code_hash.is_not(None))
        session.execute(wrong.values(status="incorrect"))
    store.finish_run(newest, "finished", 900.0, 90.0, LAST + timedelta(minutes=15))
    found = facts(store, LAST + timedelta(hours=5))
    assert found["2 cells wrong"] is False
    assert found["15 not measured"] is False


def test_fewer_problems_than_before_are_no_change_of_the_level(filled: Filled) -> None:
    store = filled(nights=4)
    fill(store, Plan(devices=("sim-a100",), nights=1, patterns=1, precisions=("fp32",), first_night=LAST))
    for row in night_of(store).devices[0].medians:
        assert not row.has_changed(LIMITS.floor)
        assert (row.newest.problems, row.most_problems, row.is_whole, row.change) == (1, 2, False, None)


def test_the_rule_in_the_line_was_not_fitted_to_the_device(filled: Filled) -> None:
    store = filled(layouts=("batch_first",), nights=1)
    assert "Rules: " in rules_line(night_of(store))
    fitted = next(one for one in learned_sections() if (one.metric, one.precision) == ("latency", "fp32"))
    with store.writing() as session:
        session.execute(update(Device).values(model=fitted.device["model"]))
    best = night_of(store).best_rule
    assert best is not None and best.name.split()[0] not in ("learned", "cost_model")


def test_a_store_without_a_run_has_no_night(own_url: str) -> None:
    assert read_night(Store.open(own_url)) is None


def test_nights_end_with_the_newest_run_whatever_the_device(filled: Filled) -> None:
    night = night_of(filled())
    assert night.started_at == LAST
    assert night.ended_at == LAST + timedelta(minutes=15)
    assert night.started_at.tzinfo is UTC
