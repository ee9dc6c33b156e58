"""What a threshold rule would score with any other limit than the one it has."""

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
        note(f"No problem of this run has anything that {rule} could compare: it says a baseline for all.")
        return
    best = frame.loc[frame["accuracy"].idxmax()]
    now = _accuracy(problems, RANKINGS[rule], LIMITS[rule])
    finding(
        f"With its limit {LIMITS[rule]} {rule} is right on {share(now)}; "
        f"the best limit here, {best['limit']:.4g}, would be on {share(best['accuracy'])}"
    )
    note("A limit fitted to the run that it is judged by flatters itself: this shows how flat the top is.")
    chart(
        scores.threshold_sweep(frame, TITLES[rule], float(LIMITS[rule]), float(frame["majority"].iloc[0])),
        frame,
        "threshold_sweep",
        f"Accuracy of {rule} with every limit; the majority rate is a dashed line.",
    )


def swept(problems: pd.DataFrame, ranking: Callable[[Pattern], Fraction]) -> pd.DataFrame:
    """The score at every value that occurs: `limit`, `problems`, `accuracy`, `balanced_accuracy`, `majority`.

    Args:
        problems: `a` to `d` and `speedup`.
        ranking: what is compared with the limit.
    """
    ranked = pd.DataFrame({"limit": _ranked(problems, ranking), "won": problems["speedup"] > 1})
    wins, losses = int(ranked["won"].sum()), int((~ranked["won"]).sum())
    # one row a value, the highest first: what is said to be fused grows from row to row
    at = ranked.groupby("limit")["won"].agg(["sum", "size"]).sort_index(ascending=False)
    right_wins = at["sum"].cumsum()
    right_losses = losses - (at["size"] - at["sum"]).cumsum()
    both = (right_wins / wins + right_losses / losses) / 2 if wins and losses else nan
    found = pd.DataFrame(
        {
            "problems": wins + losses,
            "accuracy": (right_wins + right_losses) / (wins + losses),
            "balanced_accuracy": both,
            "majority": max(wins, losses) / (wins + losses),
        }
    ).reset_index()
    return found[found["limit"] > 0].sort_values("limit").astype({"limit": float})


def _accuracy(problems: pd.DataFrame, ranking: Callable[[Pattern], Fraction], limit: Fraction) -> float:
    says_fused = pd.Series(_ranked(problems, ranking), index=problems.index) >= limit
    return float((says_fused == (problems["speedup"] > 1)).mean())


def _ranked(problems: pd.DataFrame, ranking: Callable[[Pattern], Fraction]) -> list[Fraction]:
    letters = problems[list("abcd")].itertuples(index=False, name=None)
    return [ranking(Pattern(*map(int, one))) for one in letters]
