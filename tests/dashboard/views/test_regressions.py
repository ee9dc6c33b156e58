"""The page of lasting changes, without a browser."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from streamlit.testing.v1 import AppTest

from kswatch.db.alerts import lifecycle
from kswatch.db.alerts.lifecycle import NewAlert
from kswatch.db.queries.basic import alerts, runs
from kswatch.db.store import Store
from tests.dashboard.simulated_store import FIRST_NIGHT, Plan, fill

Opened = Callable[..., AppTest]


def planted(url: str, first_night: datetime = FIRST_NIGHT) -> Store:
    """Three alerts on one device: one lasts, one recovered, one was never confirmed."""
    store = Store.open(url)
    fill(store, Plan(nights=3, patterns=1, devices=("sim-a100",), first_night=first_night))
    for known in alerts(store):
        lifecycle.act(store, known.id, "false_alarm", "ann", "planted", known.version)
    run = runs(store)[0]
    for name, confirmed in (("fused", True), ("bmm", True), ("dense", False)):
        cause = "code" if name == "fused" else "baseline"
        explanation = {
            "first_bad_run": run.id,
            "revisions": {"good": "a" * 40, "bad": "b" * 40},
            "problems": 4,
            "cells": [{"change_low": 0.04, "change_high": 0.06}],
        }
        new = NewAlert(
            run.device_id,
            run.id,
            "slower",
            cause,
            "latency_ms",
            name,
            f"{name} slower",
            0.05,
            explanation,
            confirmed,
        )
        alert_id = lifecycle.open_alert(store, new)
        if name == "bmm":
            lifecycle.act(store, alert_id, "resolve", "ann", None, 1)
    return store


def test_confirmed_changes_are_listed_by_cause_with_commits_and_present_state(
    opened: Opened, own_url: str
) -> None:
    planted(own_url).close()
    page = opened("regressions", own_url, days="all")
    assert page.subheader[0].value == "2 lasting changes, 1 still there"
    rows = [row for table in page.dataframe for row in table.value.to_dict("records")]
    assert {(row["implementation"], row["state"]) for row in rows} == {
        ("fused", "still there"),
        ("bmm", "recovered"),
    }
    assert {row["commits"] for row in rows} == {"a" * 12 + ".." + "b" * 12}
    assert {row["95 % interval"] for row in rows} == {"+4.0 to +6.0 %"}


def test_changes_that_began_earlier_are_left_out(opened: Opened, own_url: str) -> None:
    planted(own_url, datetime.now(UTC) - timedelta(days=60)).close()
    found = {days: opened("regressions", own_url, days=days).subheader[0].value for days in ("30", "90")}
    assert found == {"30": "0 lasting changes, 0 still there", "90": "2 lasting changes, 1 still there"}
