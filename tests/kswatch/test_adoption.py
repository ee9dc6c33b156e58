"""`kswatch.plan` with a store: measured costs, their marks, and the algorithm that they call for."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
import torch
from torch import nn

import kswatch
from kswatch.db.records import DeviceRecord, EnvironmentRecord, MeasurementRecord, ProblemKey, RunRecord
from kswatch.db.store import Store
from kswatch.errors import KswatchError
from kswatch.kernels.pattern import Pattern

CHAIN = (Pattern(1, 16, 64, 1), Pattern(1, 64, 16, 1))
COSTS_MS = {
    (CHAIN[0], "fused"): 0.1,
    (CHAIN[1], "fused"): 0.2,
    (CHAIN[0], "bmm"): 0.3,
    (CHAIN[1], "bmm"): 0.4,
    (Pattern(8, 8, 8, 1), "dense"): 1.0,
}


@pytest.fixture(scope="module")
def url(tmp_path_factory) -> str:
    """A store with the factors of one chain, and the dense product of the same shape."""
    address = f"sqlite:///{tmp_path_factory.mktemp('store') / 'kswatch.db'}"
    store = Store.open(address)
    device = DeviceRecord("GPU-aaaa", "cuda", "NVIDIA Made-up 80GB")
    time = datetime(2026, 3, 1, tzinfo=UTC)
    run = RunRecord("ad_hoc", device, EnvironmentRecord(), None, "nightly", "measured", time)
    run_id = store.begin_run(run)
    for (pattern, name), ms in COSTS_MS.items():
        key = ProblemKey(*pattern.as_tuple(), 98, "fp32", "batch_first")
        store.record_problem(run_id, [MeasurementRecord(key, name, "ok", latency_ms=ms, energy_mj=100 * ms)])
    store.finish_run(run_id, "finished", 1.0, 0.1)
    return address


def test_measured_costs_are_marked_and_choose_chain_and_algorithm(url: str) -> None:
    model = nn.Sequential(nn.Linear(64, 64), nn.Linear(64, 48))
    plan = kswatch.plan(model, torch.randn(98, 64), device="Made-up", store=url)
    first, second = plan.layers
    assert first.best.patterns == CHAIN
    assert (first.best.algorithm, first.best.latency.source) == ("fused", "measured")
    assert first.best.latency.value == pytest.approx(0.3) and first.best.energy.value == pytest.approx(30)
    assert (first.dense.latency.value, first.dense.latency.source) == (1.0, "measured")
    assert (second.best.name, second.best.latency.source) == ("dense", "no data")
    assert kswatch.replace(model, plan)[0].algorithm == "fused"
    assert plan.total.without_latency == 1
    assert plan.total.latency_ms == pytest.approx(0.3) and plan.total.dense_energy_mj == pytest.approx(100)


def test_a_store_is_an_object_an_address_or_a_file(url: str) -> None:
    model, x = nn.Linear(64, 64), torch.randn(98, 64)
    with_file = kswatch.plan(model, x, device="GPU-aaaa", store=Path(url.removeprefix("sqlite:///")))
    store = Store.open(url)
    assert with_file == kswatch.plan(model, x, device="GPU-aaaa", store=store)
    store.close()
    with pytest.raises(KswatchError):
        kswatch.plan(model, x, device="cpu", store="absent.db")
    with pytest.raises(KswatchError, match="is no store"):
        kswatch.plan(model, x, device="cpu", store=7)


def test_the_package_loads_its_names_on_first_use_only() -> None:
    assert {"KSLinear", "chains", "plan", "replace"} <= set(kswatch.__all__)
    assert all(callable(getattr(kswatch, name)) for name in ("chains", "plan", "replace"))
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        kswatch.nothing  # noqa: B018
