"""Scores of heuristics against a device's newest measurements, for `kswatch heuristics score`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from kswatch.ci.advisor.from_store import device_facts, measured_problems
from kswatch.db.queries.headline import DeviceComparison, outcomes
from kswatch.db.statistics import PredictionResult, PredictionScore, score_predictions
from kswatch.db.store import Store
from kswatch.kernels.heuristics.base import Heuristic
from kswatch.kernels.heuristics.catalogue import HEURISTICS
from kswatch.kernels.heuristics.measured import HeldOutPredictions, PredictBlock, held_out, with_known_winner
from kswatch.kernels.heuristics.score import (
    CalibrationBin,
    CostError,
    calibration,
    calibration_error,
    cost_errors,
    median_error,
)

SLOW_TO_FIT = frozenset({"cost_model", "learned"})
FEW = 200
"""Number of problems below which starting processes takes longer than they save."""


@dataclass(frozen=True, kw_only=True)
class HeuristicReport(PredictionScore):
    """The contract of `kswatch heuristics score --json`, and more; None where it cannot be known."""

    heuristic: str
    version: int
    held_out: str | None
    """`block`: nothing of a problem's (b, c) took part in the fit; `device`: nothing of the device."""
    speedup_error: float | None
    """Median of |predicted / measured speedup - 1|."""
    calibration_error: float | None
    """Mean of |confidence - share that was right|."""
    calibration: tuple[CalibrationBin, ...]
    cost_errors: dict[str, CostError]
    """The errors of the predicted costs, by implementation."""


def score_heuristics(found: DeviceComparison, metric: str) -> list[HeuristicReport]:
    """The scores of every heuristic as shipped, over the problems that were not left out."""
    facts = {**device_facts(found.device), "metric": metric}
    problems = with_known_winner(measured_problems(found, metric))
    return [
        _score(rule, [(one, rule.predict(one.problem, facts)) for one in problems], None)
        for rule in HEURISTICS
    ]


def score_held_out(found: DeviceComparison, metric: str) -> list[HeuristicReport]:
    """The scores of every heuristic when refitted for each (b, c), without that block.

    Raises:
        UsageError: scikit-learn is not installed.
    """
    from kswatch.kernels.heuristics.training import fitters

    fits_by_rule = fitters(device_facts(found.device), metric)
    measured = measured_problems(found, metric)
    few = len(measured) < FEW
    predictions = {
        name: held_out(measured, fit, map if few else _each(name)) for name, fit in fits_by_rule.items()
    }
    return [_score(rule, predictions[rule.name], "block") for rule in HEURISTICS]


def _each(name: str) -> Callable[[PredictBlock, Sequence[tuple[int, int]]], Iterable[HeldOutPredictions]]:
    """`map`; a parallel one for slow heuristics, with the time left on stderr if that is a terminal."""
    if name not in SLOW_TO_FIT:
        return map
    from joblib import Parallel, delayed  # comes with scikit-learn
    from rich.progress import track

    from kswatch.db.cli.terminal import make_console

    console = make_console(stderr=True)

    def each(predict_block: PredictBlock, blocks: Sequence[tuple[int, int]]) -> Iterable[HeldOutPredictions]:
        results = Parallel(n_jobs=-1, return_as="generator")(
            delayed(predict_block)(block) for block in blocks
        )
        quiet = not console.is_terminal
        yield from track(results, f"fitting {name}", len(blocks), console=console, disable=quiet)

    return each


def score_on_other_device(found: DeviceComparison, store: Store, metric: str) -> list[HeuristicReport]:
    """The scores of every heuristic when fitted on the other device of this kind that has most problems.

    Raises:
        UsageError: scikit-learn is not installed.
    """
    from kswatch.db.queries.basic import devices
    from kswatch.kernels.heuristics.training import fitters

    others = [
        outcomes(store, device.uuid, metric=metric)
        for device in devices(store)
        if device.id != found.device.id and device.kind == found.device.kind and not device.simulated
    ]
    trained_on = max(others, key=lambda one: len(one.problems), default=None)
    problems = with_known_winner(measured_problems(found, metric))
    if trained_on is None or not with_known_winner(measured_problems(trained_on, metric)):
        return [_score(rule, [], "device") for rule in HEURISTICS]
    fits_by_rule = fitters(device_facts(trained_on.device), metric)
    training = measured_problems(trained_on, metric)
    fitted = [(rule, fits_by_rule[rule.name](training)) for rule in HEURISTICS]
    return [
        _score(rule, [(one, predict(one.problem)) for one in problems], "device") for rule, predict in fitted
    ]


def _score(rule: Heuristic, predictions: HeldOutPredictions, held_out_by: str | None) -> HeuristicReport:
    won = [(one.speedup or 0.0, prediction) for one, prediction in predictions]
    score = score_predictions([PredictionResult(one.predicts_fused, speedup) for speedup, one in won])
    bins = calibration(
        [(p.confidence, p.predicts_fused == (speedup > 1)) for speedup, p in won if p.confidence is not None]
    )
    return HeuristicReport(
        **vars(score),
        heuristic=rule.name,
        version=rule.version,
        held_out=held_out_by,
        speedup_error=median_error(
            [(p.predicted_speedup, speedup) for speedup, p in won if p.predicted_speedup is not None]
        ),
        calibration_error=calibration_error(bins),
        calibration=tuple(bins),
        cost_errors=cost_errors([(prediction.costs, one.costs) for one, prediction in predictions]),
    )


def score_table(found: DeviceComparison, rows: Sequence[HeuristicReport]) -> str:
    """The scores as text."""
    lines = [f"{found.device.model}, fused against {', '.join(found.baselines) or 'nothing'}"]
    lines.append(f"{'heuristic':16} problems majority accuracy balanced   regret    tp    fp    fn    tn")
    for row in rows:
        shares = (
            f"{format_share(value):>8}" for value in (row.majority, row.accuracy, row.balanced_accuracy)
        )
        counts = "".join(f"{count:6}" for count in (row.tp, row.fp, row.fn, row.tn))
        regret = format_percent(row.regret)
        lines.append(f"{row.heuristic:16} {row.problems:8} {' '.join(shares)} {regret:>8}{counts}")
    if rows and rows[0].held_out is None:
        lines.append("cost_model and learned may have seen these problems: --held-out fits without them")
    return "\n".join(lines)


def format_share(value: float | None) -> str:
    """Three digits, or a dash."""
    return "-" if value is None else f"{value:.3f}"


def format_percent(value: float | None) -> str:
    """A percentage with two digits, or a dash."""
    return "-" if value is None else f"{value:.2%}"
