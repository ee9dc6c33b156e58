"""The answer for one problem in one run: fused against the best baseline, in time and in energy."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from kswatch.dashboard.components.panels import finding, note
from kswatch.dashboard.formatting.labels import ratio, savings

NOT_MEASURED = "not measured"


@dataclass(frozen=True)
class Answer:
    """Fused and the best baseline of one problem in one run."""

    fused_ms: float
    baseline_ms: float
    saved_mj: float
    """Of the same baseline, by its energy; not a number where one of both is unknown."""
    best_baseline: str
    speedup: float
    low: float
    high: float

    @property
    def sentence(self) -> str:
        """As `fused 0.049 ms against 0.085 ms of bmm: 1.73×, saves 0.036 ms and 13 mJ`."""
        saved = savings(self.baseline_ms - self.fused_ms, self.saved_mj)
        return (
            f"fused {self.fused_ms:.3g} ms against {self.baseline_ms:.3g} ms of {self.best_baseline}: "
            f"{ratio(self.speedup)}, {saved}"
        )


def answer_of(cells: pd.DataFrame, compared: pd.DataFrame) -> Answer | None:
    """The answer of a run; None where it has no latency of both.

    Args:
        cells: of the problem in the run: `implementation`, `mode`, `latency_ms`, `energy_mj`.
        compared: its comparison by latency: `best_baseline`, `speedup` with its bounds.
    """
    compared = compared.dropna(subset=["speedup"])
    if compared.empty:
        return None
    row = compared.iloc[0]
    by_name = cells[cells["mode"] != "hot"].drop_duplicates("implementation").set_index("implementation")
    if not {"fused", row["best_baseline"]} <= set(by_name.index):
        return None
    fused, best = by_name.loc["fused"], by_name.loc[row["best_baseline"]]
    return Answer(
        fused_ms=fused["latency_ms"],
        baseline_ms=best["latency_ms"],
        saved_mj=best["energy_mj"] - fused["energy_mj"],
        best_baseline=row["best_baseline"],
        speedup=row["speedup"],
        low=row["speedup_low"],
        high=row["speedup_high"],
    )


def show_answer(pattern: str, cells: pd.DataFrame, compared: dict[str, pd.DataFrame], run_id: int) -> None:
    """Draw the answer of a run as a title, with its interval, or the reason for no comparison.

    Args:
        pattern: as `6,64,64,1`.
        cells: of the problem in several runs: `run_id` and the columns of `answer_of`.
        compared: its comparisons by `latency` and `energy`.
        run_id: of the run.
    """
    own = {metric: frame[frame["run_id"] == run_id] for metric, frame in compared.items()}
    found = answer_of(cells[cells["run_id"] == run_id], own["latency"])
    energy = _energy_text(own["energy"])
    if found is None:
        reasons = own["latency"]["left_out"].dropna()
        reason = reasons.iloc[0] if len(reasons) else NOT_MEASURED
        finding(f"({pattern}): {energy or f'no comparison in run {run_id}: {reason}'}")
        if energy:
            note(f"No comparison by latency: {reason}.")
        return
    finding(f"({pattern}): {found.sentence}")
    interval = f"95 %: {ratio(found.low)} to {ratio(found.high)}" if found.low == found.low else ""
    note("; ".join(filter(None, [interval, energy, f"run {run_id}"])) + ".")


def _energy_text(compared: pd.DataFrame) -> str:
    compared = compared.dropna(subset=["speedup"])
    if compared.empty:
        return ""
    row = compared.iloc[0]
    if row["speedup"] >= 1:
        return f"{row['best_baseline']} uses {ratio(row['speedup'])} the energy of fused"
    return f"fused uses {ratio(1 / row['speedup'])} the energy of {row['best_baseline']}"
