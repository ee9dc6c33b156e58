"""Rate and energy of each cell of a run per unit of work, and the roofline."""

from __future__ import annotations

import pandas as pd

from kswatch.dashboard.data import queries as cached_queries
from kswatch.dashboard.formatting.labels import problem_labels
from kswatch.db.records import HEADLINE_MODES, best_rates

COLUMNS = ("mode", "latency_ms", "latency_low_ms", "latency_high_ms", "bytes_moved", "flops")


def of_run(run_id: int, precision: str, layout: str) -> pd.DataFrame:
    """Cells of a run with latency, bytes and flops, and the rates derived from them.

    Adds `intensity` (flops per compulsory byte), `gflops` (the rate, with `gflops_low` and
    `gflops_high`) and the problem's label; the index counts from 0.
    """
    frame = cached_queries.run_cells(run_id, COLUMNS, precision, layout)
    frame = frame[frame["mode"].isin(HEADLINE_MODES)]
    frame = frame.dropna(subset=["latency_ms", "bytes_moved", "flops"]).reset_index(drop=True)
    gflop = frame["flops"] / 1e9
    return frame.assign(
        problem=problem_labels(frame),
        intensity=frame["flops"] / frame["bytes_moved"],
        gflops=gflop / frame["latency_ms"] * 1e3,
        gflops_low=gflop / frame["latency_high_ms"] * 1e3,
        gflops_high=gflop / frame["latency_low_ms"] * 1e3,
    )


def ceilings(run_id: int, precision: str) -> tuple[float | None, float | None]:
    """Bytes and flops per second that a run's canaries reached at best: the rates of its floors.

    The second is that of the GEMM canary of this precision, or of registers alone where that is higher.
    """
    bytes_per_s, flops_per_s = best_rates(cached_queries.canaries((run_id,)).itertuples())
    return bytes_per_s, flops_per_s.get(precision)


def with_energy_figures(frame: pd.DataFrame) -> pd.DataFrame:
    """Adds the energy per GFLOP of the product (mJ), and the energy–delay product (mJ·ms).

    The work is that of the pattern, 2·batch·abcd flops: flops executed beyond it do not count.
    """
    needed = 2 * frame["batch"] * frame["a"] * frame["b"] * frame["c"] * frame["d"] / 1e9
    return frame.assign(
        energy_per_gflop_mj=frame["energy_mj"] / needed,
        energy_delay=frame["energy_mj"] * frame["latency_ms"],
    )
