"""The roof of a run is that of its floors."""

import pandas as pd

from kswatch.dashboard.data import rates


def roof(monkeypatch, *readings: tuple[str, str, float], precision: str = "fp32"):
    frame = pd.DataFrame(readings, columns=["name", "precision", "rate"])
    monkeypatch.setattr(rates.cached_queries, "canaries", lambda runs: frame)
    return rates.ceilings(7, precision)


def test_the_roof_is_the_best_that_the_run_reached(monkeypatch) -> None:
    readings = ("copy", "fp32", 4e10), ("copy", "fp32", 5e10), ("gemm", "fp32", 3e11), ("gemm", "bf16", 6e11)
    assert roof(monkeypatch, *readings) == (5e10, 3e11)
    assert roof(monkeypatch, *readings, precision="bf16") == (5e10, 6e11)
    assert roof(monkeypatch, *readings, precision="tf32") == (5e10, None)


def test_registers_alone_may_be_faster_than_the_library(monkeypatch) -> None:
    assert roof(monkeypatch, ("gemm", "fp32", 2.4e11), ("peak", "fp32", 3.3e11)) == (None, 3.3e11)


def test_a_run_without_canaries_has_no_roof(monkeypatch) -> None:
    assert roof(monkeypatch) == (None, None)
