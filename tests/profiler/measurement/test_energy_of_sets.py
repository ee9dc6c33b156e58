"""The energy pass where a rival is the fastest (simulated): the series against stock torch go on."""

from __future__ import annotations

import pytest

from kswatch.db.records import BASELINE_SETS
from kswatch.db.writes.speedup import compare
from kswatch.profiler.planning.priority_order import best_of_sets
from tests.profiler.measurement.test_gpu_loop import measured

NAMES = ("fused", "bmm", "dense", "triton")


@pytest.mark.parametrize(
    ("options", "with_energy"),
    [
        ("triton=1.0", {"fused", "triton", "bmm"}),
        ("triton=9.0", {"fused", "bmm"}),
    ],
)
def test_energy_is_read_for_the_fastest_of_each_set(options: str, with_energy: set[str]) -> None:
    found, _ = measured(f"tick_ms=20&shift=0&{options}", energy=True, names=NAMES)
    assert {name for (name, _), one in found.items() if one.energy_mj is not None} == with_energy
    records = {name: one for (name, _), one in found.items()}
    for name in ("all", "expert"):
        members = [one for one in BASELINE_SETS[name] if one in NAMES]
        assert compare(records, "energy", members).left_out is None


def test_a_short_night_measures_the_best_of_stock_torch_too() -> None:
    assert best_of_sets(["triton", "compiled", "bmm", "dense", "csr"]) == (
        "triton",
        "compiled",
        "bmm",
        "dense",
    )
    assert set(best_of_sets(["bmm", "triton", "dense"])) == {"bmm", "triton", "dense"}
    assert set(best_of_sets(["bmm", "dense", "csr"])) == {"bmm", "dense"}
