"""Alerts and devices as HTML, the same on the overview and in the report."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from kswatch.dashboard.night import alert_markup, device_markup
from kswatch.dashboard.night.summary import Night, read_night
from kswatch.db.queries import basic as queries
from kswatch.db.store import Store
from kswatch.services import JudgementLimits
from tests.dashboard.simulated_store import Plan, fill

REPOSITORY = "https://github.com/owner/name"
NOW = datetime(2026, 1, 8, 12, tzinfo=UTC)
PLAN = Plan(nights=4, patterns=2, regression_night=3, new_driver_night=3, samples=2)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    store = Store.open(f"sqlite:///{tmp_path_factory.mktemp('markup') / 'kswatch.db'}")
    fill(store, PLAN)
    return store


@pytest.fixture(scope="module")
def night(store: Store) -> Night:
    night = read_night(store)
    assert night is not None
    return night


def test_an_alert_names_its_change_commits_and_worst_problem(store: Store, night: Night) -> None:
    shown = alert_markup.alert(night.alerts.live[0], REPOSITORY)
    good, bad = (queries.run(store, run_id).revision for run_id in night.alerts.live[0].runs)
    assert good and bad
    assert "fused slower: latency +12.0 % (+11.0 to +13.0 %)</b> · 8 problems · fp32, bf16" in shown
    assert "new · confirmed · code change" in shown
    assert f'since <a href="{REPOSITORY}/commit/{bad.commit[:12]}"' in shown
    assert f'last good <a href="{REPOSITORY}/commit/{good.commit[:12]}"' in shown
    assert f'href="{REPOSITORY}/compare/{good.commit[:12]}...{bad.commit[:12]}"' in shown
    assert "worst on (6,64,64,1) ×1024 fp32 batch first" in shown
    assert "<b>bold" not in shown and "<script" not in shown


def test_the_nights_of_its_worst_series_show_the_step(night: Night) -> None:
    one = night.alerts.live[0]
    assert len(one.nights) == 4 and one.step == 3
    assert one.nights[3] > 1.1 * max(one.nights[:3])
    assert "<img " in alert_markup.alert(one, None)


def test_without_a_repository_commits_are_text(night: Night) -> None:
    shown = alert_markup.alert(night.alerts.live[0], None)
    assert "href" not in shown and night.alerts.live[0].suspects[-1].commit[:12] in shown


def test_a_device_shows_its_environment_and_its_fall_against_the_level(night: Night) -> None:
    shown = device_markup.matrix(night.devices, JudgementLimits(), NOW)
    assert shown.count("driver 580.65 → 590.10") == 2
    assert shown.count('class="ks-bad">-') == 2 * 2 * 2
    assert shown.count("<img ") == 2 * 2 * 2
    assert '<span class="ks-badge">simulated</span>' in shown


def test_calm_devices_are_one_line(tmp_path: Path) -> None:
    store = Store.open(f"sqlite:///{tmp_path / 'kswatch.db'}")
    fill(store, Plan(nights=4, patterns=2, samples=2))
    night = read_night(store)
    assert night is not None
    calm = night.calm_devices(JudgementLimits(), NOW)
    assert device_markup.calm_summary(calm).startswith("Calm: 2 devices, 8 rows, fused wins ")
    assert "of 16 problems, median speedup" in device_markup.calm_summary(calm)
