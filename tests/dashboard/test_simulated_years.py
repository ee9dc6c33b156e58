"""The simulated store of years: its measurements, its tails and its planted regression."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from kswatch.db.queries import basic as queries
from kswatch.db.store import Store
from tests.benchmarks.simulated_years import DEVICES, Years, fill_years
from tests.db.sample_records import stored_tails


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


def test_tails_equal_the_stored_measurements_and_comparisons(filled: Store) -> None:
    device = queries.devices(filled)[0]
    tails = stored_tails(filled, ("latency_ms", "speedup"), device.id)
    problem = next(iter(tails))[0]
    about = {"problem": problem, "device_id": device.id, "origins": None}
    latencies = {
        row.run_id: row.latency_ms
        for row in queries.measurements(filled, **about)
        if row.implementation == "fused" and row.mode == "cold"
    }
    speedups = {row.run_id: row.speedup for row in queries.comparisons(filled, **about)}
    for metric, stored in (("latency_ms", latencies), ("speedup", speedups)):
        assert dict(tails[problem, "fused", metric]) == pytest.approx(stored, rel=1e-5)


def test_the_last_night_holds_the_planted_regression(filled: Store) -> None:
    newest = queries.runs(filled, limit=1)[0]
    slower = [verdict for verdict in queries.verdicts(filled, newest.id) if verdict.verdict == "slower"]
    assert {verdict.implementation for verdict in slower} == {"fused"}
    assert len(queries.alerts(filled)) == len(DEVICES)
