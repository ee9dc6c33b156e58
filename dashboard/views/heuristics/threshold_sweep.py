"""The accuracy of a threshold rule by threshold."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from math import nan

import pandas as pd

from kswatch.dashboard.charts import heuristic_scores as scores
from kswatch.dashboard.components import url_state
from kswatch.dashboard.components.filters import BOX_WIDTH
from kswatch.dashboard.components.panels import chart, finding, note
from kswatch.dashboard.formatting.labels import share
from kswatch.kernels.heuristics.rules import DH_LIMIT, GATED_H_LIMIT, H_LIMIT, RANKINGS
from kswatch.kernels.pattern import Pattern

LIMITS: dict[str, Fraction] = {
    "h_threshold": H_LIMIT,
    "dh_threshold": DH_LIMIT,
    "gated_h": GATED_H_LIMIT,
}
TITLES: dict[str, str] = {
    "h_threshold": "fused where h is at least",
    "dh_threshold": "fused where d·h is at least",
    "gated_h": "fused where d > 1 and h is at least",
}


def show_sweep(outcomes: pd.DataFrame, chosen: str) -> None:
    """Draw the sweep of one threshold rule.

    Args:
        outcomes: `problem_id`, `a` to `d`, `speedup`, a row for each heuristic and problem.
        chosen: the page's heuristic, with its version; swept first if it has a threshold.
    """
    problems = outcomes.drop_duplicates("problem_id")
    name = chosen.rpartition(" v")[0]
    rule = url_state.select(
        "Threshold of", "sweep", list(LIMITS), name if name in LIMITS else None, width=BOX_WIDTH + 60
    )
    frame = swept(problems, RANKINGS[rule])
    if frame.empty:
        note(f"{rule} applies to no problem of this run: it predicts a baseline for all.")
        return
    best = frame.loc[frame["accuracy"].idxmax()]
    now = _accuracy(problems, RANKINGS[rule], LIMITS[rule])
    finding(
        f"{rule} with its threshold {LIMITS[rule]}: {share(now)} correct; "
        f"with the best threshold here, {best['limit']:.4g}: {share(best['accuracy'])}"
    )
    note(
        "The best threshold is fitted on this run, so its accuracy is optimistic; "
        "the curve shows its sensitivity."
    )
    chart(
        scores.threshold_sweep(frame, TITLES[rule], float(LIMITS[rule]), float(frame["majority"].iloc[0])),
        frame,
        "threshold_sweep",
        f"Accuracy of {rule} by threshold; the majority rate is a dashed line.",
    )


def swept(problems: pd.DataFrame, ranking: Callable[[Pattern], Fraction]) -> pd.DataFrame:
    """The scores at every threshold that occurs.

    Columns: `limit`, `problems`, `accuracy`, `balanced_accuracy`, `majority`.

    Args:
        problems: `a` to `d` and `speedup`.
        ranking: the quantity compared with the threshold.
    """
    ranked = pd.DataFrame({"limit": _ranked(problems, ranking), "won": problems["speedup"] > 1})
    wins, losses = int(ranked["won"].sum()), int((~ranked["won"]).sum())
    # one row per threshold, the highest first: the problems predicted fused grow from row to row
    at = ranked.groupby("limit")["won"].agg(["sum", "size"]).sort_index(ascending=False)
    true_wins = at["sum"].cumsum()
    true_losses = losses - (at["size"] - at["sum"]).cumsum()
    both = (true_wins / wins + true_losses / losses) / 2 if wins and losses else nan
    found = pd.DataFrame(
        {
            "problems": wins + losses,
            "accuracy": (true_wins + true_losses) / (wins + losses),
            "balanced_accuracy": both,
            "majority": max(wins, losses) / (wins + losses),
        }
    ).reset_index()
    return found[found["limit"] > 0].sort_values("limit").astype({"limit": float})


def _accuracy(problems: pd.DataFrame, ranking: Callable[[Pattern], Fraction], limit: Fraction) -> float:
    predicts_fused = pd.Series(_ranked(problems, ranking), index=problems.index) >= limit
    return float((predicts_fused == (problems["speedup"] > 1)).mean())


def _ranked(problems: pd.DataFrame, ranking: Callable[[Pattern], Fraction]) -> list[Fraction]:
    letters = problems[list("abcd")].itertuples(index=False, name=None)
    return [ranking(Pattern(*map(int, row))) for row in letters]
