"""A pattern that these runs did not measure: predictions, and a request whose answer appears here."""

from __future__ import annotations

from dataclasses import asdict

import pandas as pd

from kswatch.dashboard.components import links
from kswatch.dashboard.components.filters import Scope
from kswatch.dashboard.components.panels import finding, hint, note, show_table
from kswatch.dashboard.data import queries as cached_queries
from kswatch.dashboard.formatting.labels import WORDS, count, ratio
from kswatch.dashboard.views.pattern.answer import show_answer
from kswatch.dashboard.views.requests.measure_here import show_measurement
from kswatch.db.records import ProblemKey
from kswatch.kernels.heuristics.catalogue import HEURISTICS
from kswatch.kernels.pattern import Pattern
from kswatch.kernels.problem import Problem


def show_predicted(scope: Scope, pattern: Pattern, batch: int) -> None:
    """Draw the answer of another run of this device if any measured the problem, else the predictions."""
    key = ProblemKey(*pattern.as_tuple(), batch, scope.precision, scope.layout)
    where = f"{scope.name}, batch {batch:,}, {scope.precision}, {WORDS.get(scope.layout, scope.layout)}"
    found = cached_queries.problem_comparisons(
        problem=key,
        device_id=scope.device.id,
        metric=None,
        baselines=scope.baselines,
        kinds=None,
        origins=(scope.source.origin,),
    )
    if len(found):
        _show_other_run(str(pattern), key, found)
    else:
        _show_predictions(scope, Problem(pattern, batch, scope.precision, scope.layout), where)  # type: ignore[arg-type]
    if scope.source.origin != "measured":
        hint("This device is simulated or imported: `kswatch serve` cannot measure on it.")
        return
    arguments: dict[str, object] = {
        "pattern": [str(pattern)],
        "batch": [batch],
        "precision": [scope.precision],
        "layout": [scope.layout],
    }
    label = "Measure it again" if len(found) else "Measure this one"
    show_measurement("pattern", label, scope.device.uuid, arguments, f"the answer for {pattern}")


def _show_other_run(pattern: str, problem: ProblemKey, found: pd.DataFrame) -> None:
    """Draw the answer of the newest run with the problem, which is none of the page's runs."""
    run_id = int(found["run_id"].max())
    cells = cached_queries.problem_cells((run_id,), problem, ("run_id", "mode", "latency_ms", "energy_mj"))
    compared = {metric: found[found["metric"] == metric] for metric in ("latency", "energy")}
    show_answer(pattern, cells, compared, run_id)
    run = cached_queries.run(run_id)
    note(f"Not measured in the runs above, but in run {run_id} ({run.kind.replace('_', ' ')}, {run.suite}).")
    links.link("runs", f"All cells of run {run_id}", icon=":material/history:", view="one", run=run_id)


def _show_predictions(scope: Scope, problem: Problem, where: str) -> None:
    """Draw what each rule predicts, with how often it was right in the newest run."""
    facts = {**scope.device.facts, **asdict(scope.device), "metric": "latency"}
    scored = cached_queries.heuristic_nights((scope.newest.id,), "latency", **scope.about)
    correct = dict(zip(scored["heuristic"], scored["accuracy"], strict=True))
    rows = []
    for rule in HEURISTICS:
        prediction = rule.predict(problem, facts)
        accuracy = correct.get(f"{rule.name} v{rule.version}")
        rows.append(
            {
                "rule": rule.name,
                "predicts": "fused" if prediction.predicts_fused else "a baseline",
                "speedup (×)": prediction.predicted_speedup,
                "correct in the newest run (%)": None if accuracy is None else 100 * accuracy,
            }
        )
    table = pd.DataFrame(rows).astype({"speedup (×)": float, "correct in the newest run (%)": float})
    fused = int((table["predicts"] == "fused").sum())
    known = table["speedup (×)"].dropna()
    about = f", by {ratio(known.median())} in the median" if len(known) else ""
    finding(
        f"({problem.pattern}) is not measured: {fused} of {count(len(table), 'rule')} predict fused{about}"
    )
    note(f"{where}. Predictions of the current rules, not measurements.")
    show_table(table)
