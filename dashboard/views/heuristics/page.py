"""Heuristics: the accuracy of the rules that choose fused or a baseline, and their errors."""

from __future__ import annotations

from functools import partial

import pandas as pd
import streamlit as st

from kswatch.dashboard.charts import heuristic_scores as scores
from kswatch.dashboard.charts import pattern_shape as shape
from kswatch.dashboard.components import links, url_state
from kswatch.dashboard.components.filters import BOX_WIDTH, Scope, choose_scope
from kswatch.dashboard.components.panels import TITLES, chart, finding, note, show_reasons, show_table
from kswatch.dashboard.components.sections import show_section
from kswatch.dashboard.data import queries as cached_queries
from kswatch.dashboard.data.fitted_rules import in_sample_rules
from kswatch.dashboard.formatting.labels import best_rule, percent, problem_labels, share
from kswatch.dashboard.views.heuristics import backfill, in_sample_notice, threshold_sweep
from kswatch.kernels.heuristics.catalogue import HEURISTICS

WINS = {
    "latency": "its latency is below that of every baseline",
    "energy": "its energy is below that of every baseline",
}

BARS = ("majority", "accuracy", "balanced_accuracy")
SHARES = (*BARS, "regret")
COLUMNS = ("heuristic", "statement", "scored_on", "problems", *SHARES, "tp", "fp", "fn", "tn")


def show() -> None:
    """Draw the page."""
    scope = choose_scope()
    if scope is None:
        return
    metric = _choose_metric(scope)
    nights = cached_queries.heuristic_nights(scope.run_ids, metric, **scope.about)
    newest = nights[nights["run_id"] == scope.newest.id]
    outcomes = cached_queries.outcomes(scope.newest.id, metric=metric, **scope.about)
    if newest.empty:
        outcomes = backfill.outcomes(scope, metric)
        nights = newest = backfill.scores(outcomes, scope)
        if newest.empty:
            _show_empty(scope, metric)
            return
        with st.container(horizontal=True, vertical_alignment="center", gap="small"):
            st.badge("backfilled", icon=":material/history:", color="orange")
            note("This run stores no predictions: the current rules are scored on its measurements.")
    newest = _held_out_first(scope, newest, metric)
    _side_by_side(scope, newest, metric)
    names = newest["heuristic"].tolist()
    chosen = url_state.select("Heuristic", "heuristic", names, width=BOX_WIDTH + 60)
    own = outcomes[outcomes["heuristic"] == chosen]
    _errors(newest[newest["heuristic"] == chosen].iloc[0], own, scope)
    show_section(_by_night, nights, chosen)
    show_section(threshold_sweep.show_sweep, outcomes, chosen)


def _choose_metric(scope: Scope) -> str:
    """Draw the box of the metric that decides the winner, where the newest run compares both."""
    compared = set(cached_queries.medians((scope.newest.id,), **scope.about)["metric"])
    held = [metric for metric in WINS if metric in compared]
    if len(held) < 2:
        return held[0] if held else "latency"
    return url_state.select("Winner by", "winner", held, width=BOX_WIDTH)


def _show_empty(scope: Scope, metric: str) -> None:
    finding(f"Run {scope.newest.id} has no comparison to score heuristics on")
    compared = cached_queries.run_comparisons(scope.newest.id, metric=metric, baselines=scope.baselines)
    if compared["left_out"].notna().any():
        note("Every problem was left out of the comparison:")
        show_reasons(compared["left_out"], "problems")
        return
    note(f"The run has no comparison for {scope.precision}, {scope.layout}; choose another above.")


def _held_out_first(scope: Scope, newest: pd.DataFrame, metric: str) -> pd.DataFrame:
    """The scores with `in_sample`: rules that were fitted to this device come last, each by its accuracy."""
    fitted = in_sample_rules(scope.device.model, metric, scope.precision, scope.layout)
    own = newest.assign(in_sample=newest["heuristic"].str.rpartition(" v")[0].isin(fitted))
    return own.sort_values(["in_sample", "accuracy"], ascending=[True, False])


def _side_by_side(scope: Scope, newest: pd.DataFrame, metric: str) -> None:
    best = newest.iloc[0]
    finding(best_rule(best["heuristic"], best["accuracy"], best["majority"], int(best["problems"])))
    note(f"Run {scope.newest.id}: {scope.title}. Fused wins where {WINS[metric]}.")
    fitted = newest.loc[newest["in_sample"], "heuristic"]
    in_sample_notice.show_in_sample_notice(fitted.tolist(), scope.device.model)
    named = newest["heuristic"] + newest["in_sample"].map({True: " (in sample)", False: ""})
    chart(
        scores.side_by_side(newest.assign(heuristic=named)),
        newest,
        "heuristics",
        "Accuracy, balanced accuracy and majority rate of every heuristic.",
    )
    statements = {f"{rule.name} v{rule.version}": rule.statement for rule in HEURISTICS}
    table = newest.assign(
        statement=newest["heuristic"].map(statements).fillna("rule of another version"),
        scored_on=newest["in_sample"].map({True: "its own fit", False: "problems new to it"}),
    )
    table = table.assign(**table[list(SHARES)] * 100)[list(COLUMNS)].rename(
        columns=TITLES | {"scored_on": "scored on"}
    )
    one_decimal = st.column_config.NumberColumn(format="%.1f")
    bar = st.column_config.ProgressColumn(format="%.1f", min_value=0, max_value=100)
    columns = dict.fromkeys(map(TITLES.__getitem__, BARS), bar) | {TITLES["regret"]: one_decimal}
    show_table(table, column_config=columns)


def _errors(scored: pd.Series, outcomes: pd.DataFrame, scope: Scope) -> None:
    wrong, regret = int(scored["fp"] + scored["fn"]), percent(scored["regret"]).lstrip("+")
    finding(f"{scored['heuristic']}: {wrong} of {scored['problems']} problems wrong, mean regret {regret}")
    left, right = st.columns([2, 3])
    with left:
        chart(
            scores.confusion(*(int(scored[name]) for name in ("tp", "fp", "fn", "tn"))),
            pd.DataFrame([scored]),
            "confusion",
            "Confusion matrix: the prediction of the heuristic against the fastest.",
        )
    with right:
        frame = outcomes.assign(problem=problem_labels(outcomes), outcome=outcome_names(outcomes))
        chart(
            shape.error_map(frame),
            frame[["problem", "bc", "d", "predicts_fused", "speedup", "best_baseline", "outcome"]],
            "error_map",
            "Correct and wrong predictions by block size and d.",
            on_open=partial(links.open_problem, frame, device=scope.device.uuid),
        )


def outcome_names(outcomes: pd.DataFrame) -> list[str]:
    """The name in `pattern_shape.OUTCOMES` of each row, from `predicts_fused` and `speedup`."""
    names = {
        (True, True): "correct: fused",
        (False, False): "correct: baseline",
        (True, False): "false fused (FP)",
        (False, True): "missed fused (FN)",
    }
    rows = zip(outcomes["predicts_fused"].astype(bool), outcomes["speedup"] > 1, strict=True)
    return [names[row] for row in rows]


def _by_night(nights: pd.DataFrame, chosen: str) -> None:
    if nights["run_id"].nunique() < 2:
        note("The trend by night starts with the second run.")
        return
    titles = scores.FIGURE_TITLES
    figure = url_state.select("Score", "figure", list(titles), show=titles.__getitem__, width=BOX_WIDTH + 60)
    own = nights[nights["heuristic"] == chosen].dropna(subset=[figure])
    if own.empty:
        note(f"{chosen} has no {titles[figure]} on these nights: all problems have the same winner.")
        return
    first, last = share(own[figure].iloc[0], 1), share(own[figure].iloc[-1], 1)
    finding(f"{chosen}: {titles[figure].partition(' (')[0]} from {first} to {last}")
    chart(
        scores.figure_by_night(nights, figure, chosen),
        nights[["run_id", "started_at", "heuristic", "majority", *titles]],
        "heuristics_by_night",
        f"{titles[figure]} of every heuristic by night; the majority rate is dashed.",
        on_open=links.open_run,
    )
