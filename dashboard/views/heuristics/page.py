"""Heuristic accuracy: does the rule that says when to use fused still hold, and where does it err."""

from __future__ import annotations

from functools import partial

import pandas as pd
import streamlit as st

from kswatch.dashboard.charts import heuristic_scores as scores
from kswatch.dashboard.charts import pattern_shape as shape
from kswatch.dashboard.components import links, url_state
from kswatch.dashboard.components.filters import BOX_WIDTH, Scope, choose_scope
from kswatch.dashboard.components.panels import chart, finding, note, show_table
from kswatch.dashboard.data import queries as cached_queries
from kswatch.dashboard.formatting.labels import percent, problem_labels, share
from kswatch.dashboard.views.heuristics import backfill as hindsight
from kswatch.dashboard.views.heuristics import in_sample_notice as fitted_rules
from kswatch.dashboard.views.heuristics import threshold_sweep
from kswatch.kernels.heuristics import HEURISTICS

METRICS = {"latency": "time", "energy": "energy"}
WINS = {
    "latency": "it takes less time than every baseline",
    "energy": "it takes less energy than every baseline",
}

TABLE: dict[str, str] = {
    "heuristic": "heuristic",
    "statement": "rule",
    "problems": "problems",
    "majority": "majority rate (%)",
    "accuracy": "accuracy (%)",
    "balanced_accuracy": "balanced accuracy (%)",
    "regret": "mean regret (%)",
    "tp": "rightly fused",
    "fp": "wrongly fused",
    "fn": "wrongly a baseline",
    "tn": "rightly a baseline",
}


def show() -> None:
    """Draw the page."""
    scope = choose_scope()
    if scope is None:
        return
    metric = _choose_metric(scope)
    about = (metric, scope.baselines, scope.precision, scope.layout)
    nights = cached_queries.heuristic_nights(scope.run_ids, *about)
    newest = nights[nights["run_id"] == scope.newest.id]
    said = cached_queries.outcomes(scope.newest.id, *about)
    if newest.empty:
        said = hindsight.outcomes(scope, metric)
        nights = newest = hindsight.figures(said, scope)
        if newest.empty:
            _tell_why_empty(scope, metric)
            return
        _tell_hindsight()
    _side_by_side(scope, newest, metric)
    names = newest.sort_values("accuracy", ascending=False)["heuristic"].tolist()
    chosen = url_state.select("Heuristic", "heuristic", names, width=BOX_WIDTH + 60)
    _in_depth(newest[newest["heuristic"] == chosen].iloc[0], said[said["heuristic"] == chosen], scope)
    _by_night(nights, chosen)
    threshold_sweep.show_sweep(said, chosen)


def _tell_hindsight() -> None:
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.badge("in hindsight", icon=":material/history:", color="orange")
        note("This run holds no predictions: today's rules are scored on what was measured.")


def _choose_metric(scope: Scope) -> str:
    """Draw the box that says what decides who won, where the newest run compares both."""
    compared = set(cached_queries.medians((scope.newest.id,), *scope.about)["metric"])
    held = [metric for metric in METRICS if metric in compared]
    if len(held) < 2:
        return held[0] if held else "latency"
    return url_state.select("Winner by", "winner", held, show=METRICS.__getitem__, width=BOX_WIDTH)


def _tell_why_empty(scope: Scope, metric: str) -> None:
    finding(f"No outcome to score a heuristic on in run {scope.newest.id}")
    compared = cached_queries.run_comparisons(scope.newest.id, metric, scope.baselines)
    reasons = compared["left_out"].dropna().value_counts()
    if len(reasons):
        note("Every problem was left out of the comparison:")
        show_table(reasons.rename_axis("reason").reset_index(name="problems"))
        return
    note(f"The run compares nothing for {scope.precision}, {scope.layout}; choose another above.")


def _side_by_side(scope: Scope, newest: pd.DataFrame, metric: str) -> None:
    best = newest.sort_values("accuracy").iloc[-1]
    gain = best["accuracy"] - best["majority"]
    than = "better than" if gain > 0 else ("as good as" if gain == 0 else "worse than")
    finding(
        f"The best rule, {best['heuristic']}, is right on {share(best['accuracy'])} of {best['problems']} "
        f"problems: {than} always saying the same ({share(best['majority'])})"
    )
    note(f"Run {scope.newest.id}: {scope.title}. Fused wins where {WINS[metric]}.")
    fitted_rules.tell_fitted((scope.device.model,), metric, scope.precision, scope.layout)
    chart(
        scores.side_by_side(newest),
        newest,
        "heuristics",
        "Accuracy and balanced accuracy of every heuristic beside the majority rate.",
    )
    statements = {f"{rule.name} v{rule.version}": rule.statement for rule in HEURISTICS}
    table = newest.assign(statement=newest["heuristic"].map(statements).fillna("of another version"))
    for column in ("majority", "accuracy", "balanced_accuracy", "regret"):
        table[column] = table[column] * 100
    show_table(
        table[list(TABLE)].rename(columns=TABLE),
        column_config={
            name: st.column_config.NumberColumn(format="%.1f") for name in TABLE.values() if "(%)" in name
        },
    )


def _in_depth(figures: pd.Series, outcomes: pd.DataFrame, scope: Scope) -> None:
    wrong = int(figures["fp"] + figures["fn"])
    cost = figures["regret"]
    finding(
        f"{figures['heuristic']} errs on {wrong} of {figures['problems']} problems and costs "
        f"{percent(cost).lstrip('+')} on average"
    )
    left, right = st.columns([2, 3])
    with left:
        chart(
            scores.confusion(*(int(figures[name]) for name in ("tp", "fp", "fn", "tn"))),
            pd.DataFrame([figures]),
            "confusion",
            "What the heuristic said against what was fastest.",
        )
    with right:
        frame = outcomes.assign(problem=problem_labels(outcomes), outcome=outcome_names(outcomes))
        chart(
            shape.error_map(frame),
            frame[["problem", "bc", "d", "predicts_fused", "speedup", "best_baseline", "outcome"]],
            "error_map",
            "Where the heuristic errs, over the size of a block and d.",
            opens=partial(links.open_problem, frame, device=scope.device.uuid),
        )


def outcome_names(outcomes: pd.DataFrame) -> list[str]:
    """Names of `shape.OUTCOMES`, row by row, from `predicts_fused` and `speedup`."""
    return [
        ("rightly " if said == (speedup > 1) else "wrongly ") + ("fused" if said else "a baseline")
        for said, speedup in zip(outcomes["predicts_fused"], outcomes["speedup"], strict=True)
    ]


def _by_night(nights: pd.DataFrame, chosen: str) -> None:
    if nights["run_id"].nunique() < 2:
        note("The trend by night begins with the second run.")
        return
    titles = scores.FIGURE_TITLES
    figure = url_state.select("Figure", "figure", list(titles), show=titles.__getitem__, width=BOX_WIDTH + 60)
    own = nights[nights["heuristic"] == chosen].dropna(subset=[figure])
    if own.empty:
        note(f"{chosen} has no {titles[figure]} on these nights: one side never won.")
        return
    first, last = share(own[figure].iloc[0], 1), share(own[figure].iloc[-1], 1)
    finding(f"{chosen}: {titles[figure].partition(' (')[0]} went from {first} to {last}")
    chart(
        scores.figure_by_night(nights, figure, chosen),
        nights[["run_id", "started_at", "heuristic", "majority", *titles]],
        "heuristics_by_night",
        f"{titles[figure]} of every heuristic by night; the majority rate is dashed.",
        opens=links.open_run,
    )
