"""The store of years is what it says: the measurements of its nights, and tails that tell the same."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from kswatch.db.queries import basic as queries
from kswatch.db.store import Store
from tests.benchmarks.simulated_years import DEVICES, Years, fill_years


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Store:
    url = f"sqlite:///{Path(tmp_path_factory.mktemp('years')) / 'kswatch.db'}"
    assert fill_years(url, Years(patterns=1, nights=5)) == 5 * 4 * 4 * 8
    return Store.open(url)


def test_every_run_and_device_is_marked_simulated_and_in_order(filled: Store) -> None:
    runs = queries.runs(filled, limit=None)
    assert len(runs) == 5 * len(DEVICES)
    assert {run.origin for run in runs} == {"simulated"}
    assert all(device.simulated for device in queries.devices(filled))
    nights = [run.started_at for run in reversed(runs)]
    assert nights == sorted(nights)
    assert (datetime.now(UTC) - nights[-1]).days <= 1


def test_a_tail_tells_what_the_measurements_tell(filled: Store) -> None:
    device = queries.devices(filled)[0]
    problem = queries.tails(filled, device.id, origins=None)[0].problem
    for metric in ("latency_ms", "speedup"):
        (tail,) = [
            one
            for one in queries.tails(filled, device.id, metrics=[metric], origins=None)
            if (one.problem, one.implementation) == (problem, "fused")
        ]
        stored = queries.series(filled, device.id, problem, "fused", metric, origins=None)
        assert [point.run_id for point in tail.points] == [point.run_id for point in stored]
        assert [point.value for point in tail.points] == pytest.approx(
            [one.value for one in stored], rel=1e-5
        )


def test_the_last_night_holds_the_planted_regression(filled: Store) -> None:
    newest = queries.runs(filled, limit=1)[0]
    slower = [verdict for verdict in queries.verdicts(filled, newest.id) if verdict.verdict == "slower"]
    assert {verdict.implementation for verdict in slower} == {"fused"}
    assert len(queries.alerts(filled)) == len(DEVICES)
