from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from kswatch.ci.cli.replay import app
from kswatch.ci.config import CiConfig
from kswatch.ci.simulation.labelled_series import LabelledSeries, read_labelled_series
from kswatch.ci.simulation.replay import ReplayedAlert, ReplayedSeries, replay
from kswatch.ci.simulation.replay_jobs import replay_all, replay_alone
from kswatch.ci.simulation.replay_score import LARGE, exact_share, marked_changes, score
from kswatch.errors import UsageError
from tests.kswatch.sample_services import sample_services

REFERENCE = os.environ.get("KSWATCH_REFERENCE")
PUBLISHED = Path(REFERENCE or "") / "changepoint" / "sap_human_dev"
needs_published = pytest.mark.skipif(
    not (REFERENCE and PUBLISHED.exists()),
    reason="KSWATCH_REFERENCE is unset: it names the folder of published data",
)


def steps(*levels: tuple[float, int], seed: int = 0, noise: float = 0.01) -> LabelledSeries:
    """Levels of so many nights each, each change marked."""
    middles = np.repeat([level for level, _ in levels], [nights for _, nights in levels])
    values = middles * (1 + noise * np.random.default_rng(seed).standard_normal(len(middles)))
    changes = np.cumsum([nights for _, nights in levels])[:-1]
    return LabelledSeries("steps", tuple(values), tuple(changes.tolist()))


def replayed(series: LabelledSeries) -> ReplayedSeries:
    return replay_alone(series, CiConfig(), accepted_after=10)


def test_a_large_step_is_alerted_within_five_nights_and_stays_alerted():
    found = replayed(steps((100, 30), (115, 14)))
    (change,) = marked_changes(found)
    assert change.size > LARGE and change.within(5) and not change.by_recovery
    (alert,) = [one for one in found.alerts if one.alerted is not None]
    assert (alert.onset, alert.verdict, alert.resolved) == (30, "slower", None)


def test_one_outlying_night_alerts_nobody():
    of = steps((100, 40))
    values = list(of.values)
    values[30] *= 1.5
    found = replayed(LabelledSeries("outlier", tuple(values), ()))
    assert not [one for one in found.alerts if one.alerted is not None]


def made(changes: tuple[int, ...], *alerts: ReplayedAlert, nights: int = 200) -> ReplayedSeries:
    bounds = [0, *changes, nights]
    values = np.concatenate(
        [
            np.full(end - first, 10.0 + place)
            for place, (first, end) in enumerate(zip(bounds, bounds[1:], strict=False))
        ]
    )
    return ReplayedSeries(LabelledSeries("made", tuple(values), changes), alerts)


def alert(onset: int, alerted: int | None, resolved: int | None = None) -> ReplayedAlert:
    return ReplayedAlert(onset, onset, alerted, resolved, "slower", "code", 0.1)


@pytest.mark.parametrize(("onset", "true"), [(94, False), (95, True), (105, True), (106, False)])
def test_an_alert_is_true_within_five_nights_of_a_marked_change(onset, true):
    found = score([made((100,), alert(onset, onset + 2))])
    assert (found.true_alerts, found.false_alerts) == (int(true), int(not true))


def test_changes_and_alerts_before_night_twenty_do_not_count():
    found = score([made((19,), alert(19, 20), alert(10, 12))])
    assert (len(found.changes), found.true_alerts, found.false_alerts, found.nights) == (0, 0, 0, 180)


def test_a_change_is_alerted_within_n_nights_its_first_night_included():
    found = score([made((100,), alert(100, 104))])
    assert [found.share_within(nights).found for nights in (1, 3, 4, 5)] == [0, 0, 0, 1]


def test_an_alert_that_ends_where_people_marked_a_return_alerts_that_change():
    found = made((100, 120), alert(100, 101, resolved=122))
    first, back = marked_changes(found)
    assert (first.alerted, back.alerted, back.by_recovery) == (101, 122, True)
    assert score([found]).resolved_while_lasting == 0


def test_an_alert_that_ends_while_the_marked_level_lasts_is_counted():
    assert score([made((100,), alert(100, 101, resolved=112))]).resolved_while_lasting == 1


def test_an_alert_that_was_never_confirmed_is_neither_true_nor_false():
    found = score([made((100,), alert(100, None))])
    assert (found.true_alerts, found.false_alerts, found.unconfirmed) == (0, 0, 1)


@pytest.mark.parametrize(
    ("found", "of", "low", "high"),
    [(0, 10, 0.0, 0.3085), (10, 10, 0.6915, 1.0), (1, 20, 0.0013, 0.2487)],  # Clopper and Pearson's table
)
def test_an_exact_interval_is_that_of_the_published_table(found, of, low, high):
    share = exact_share(found, of)
    assert (share.low, share.high) == pytest.approx((low, high), abs=5e-4)


def command(*arguments: str) -> str:
    result = CliRunner().invoke(app, list(arguments), obj=sample_services("sqlite:///unused.db"))
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.stdout


def test_the_command_scores_a_csv_file_in_text_and_json(tmp_path):
    path = tmp_path / "nights.csv"
    path.write_text("value,change\n" + "\n".join(f"{10 + (n % 3) / 50},0" for n in range(22)))
    document = json.loads(command(str(path), "--json", "--jobs", "1"))
    assert (document["series"], document["nights"], document["changes"]) == (1, 2, [])
    assert document["false_per_1000_nights"]["found"] == document["false_alerts"] == 0
    assert command(str(path), "--jobs", "1").startswith(
        "1 series, 2 nights from night 20 of each on, 0 marked"
    )


def test_the_command_names_a_series_that_the_file_lacks(tmp_path):
    path = tmp_path / "nights.csv"
    path.write_text("value\n1\n2\n")
    with pytest.raises(UsageError, match="no series 'link-time'; it has nights"):
        command(str(path), "--series", "link-time")


FIXED, BEFORE, AFTER = 20, 28, 5
"""Series in the fast run, and their nights before and after a large change."""


def windows() -> list[LabelledSeries]:
    """The first series, by name, that have a large change after a level of enough nights."""
    found = []
    for one in read_labelled_series(PUBLISHED):
        begins = [0, *one.changes]
        long_enough = (
            change
            for begin, change in zip(begins, one.changes, strict=False)
            if change - begin >= BEFORE and one.size(change) >= LARGE
        )
        if change := next(long_enough, None):
            found.append(one.part(change - BEFORE, change + AFTER))
    return found[:FIXED]


@needs_published
@pytest.mark.slow
def test_twenty_published_changes_are_alerted_soon(figure, store):
    found = score([replay(store, one, CiConfig()) for one in windows()])
    share = found.share_within(5, LARGE)
    figure(f"20 changes that people marked: {share.found} alerted within 5 nights")
    assert share.of == FIXED
    assert share.share >= 0.6


@needs_published
@pytest.mark.slow
@pytest.mark.timeout(7200)
def test_all_published_series_reach_the_goal(figure):
    found = score(replay_all(read_labelled_series(PUBLISHED), CiConfig(), 10, jobs=2))
    figure(f"222 series that people labelled: {found.share_within(5, LARGE)}, {found.false_per_1000}")
    assert found.share_within(5, LARGE).share >= 0.6
    assert found.false_per_1000.share <= 1.0
