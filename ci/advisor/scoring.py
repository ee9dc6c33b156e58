"""`kswatch heuristics score`: every heuristic against what a device's newest measurements say."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass

from kswatch.ci.advisor.from_store import device_facts, measured_problems
from kswatch.db.queries.headline import Outcomes, outcomes
from kswatch.db.store import Store
from kswatch.kernels.heuristics import HEURISTICS
from kswatch.kernels.heuristics.measured import OfBlock, Said, decided, held_out
from kswatch.kernels.heuristics.score import (
    CalibrationBin,
    CostError,
    Outcome,
    calibration,
    calibration_error,
    cost_errors,
    median_error,
    score,
)

SLOW_TO_FIT = frozenset({"cost_model", "learned"})
FEW = 200
"""Problems; with fewer, starting processes takes longer than they save."""


@dataclass(frozen=True)
class HeuristicScore:
    """The contract of `kswatch heuristics score --json`, and more; None where it cannot be known."""

    heuristic: str
    version: int
    problems: int
    majority: float | None
    accuracy: float | None
    balanced_accuracy: float | None
    tp: int
    fp: int
    fn: int
    tn: int
    regret: float | None
    """Mean cost, in the metric that is scored, of following the rule over the best choice, minus 1."""
    held_out: str | None
    """`block`: nothing of a problem's (b, c) took part in the fit; `device`: nothing of the device."""
    speedup_error: float | None
    """Median of |predicted / measured speedup - 1|."""
    calibration_error: float | None
    """Mean of |confidence - share that was right|."""
    calibration: tuple[CalibrationBin, ...]
    cost_errors: dict[str, CostError]
    """How well each implementation's cost was predicted."""


def score_heuristics(found: Outcomes, metric: str) -> list[HeuristicScore]:
    """Every heuristic as it is shipped, over the problems that were not left out."""
    facts = {**device_facts(found.device), "metric": metric}
    asked = decided(measured_problems(found, metric))
    return [
        _score(rule.name, rule.version, [(one, rule.predict(one.problem, facts)) for one in asked], None)
        for rule in HEURISTICS
    ]


def score_held_out(found: Outcomes, metric: str) -> list[HeuristicScore]:
    """Every heuristic fitted anew for each (b, c), without it.

    Raises:
        UsageError: scikit-learn is not installed.
    """
    from kswatch.kernels.heuristics.training import fits

    ways = fits(device_facts(found.device), metric)
    measured = measured_problems(found, metric)
    few = len(measured) < FEW
    said = {name: held_out(measured, way, map if few else _each(name)) for name, way in ways.items()}
    return [_score(rule.name, rule.version, said[rule.name], "block") for rule in HEURISTICS]


def _each(name: str) -> Callable[[OfBlock, Sequence[tuple[int, int]]], Iterable[Said]]:
    """`map`; for what takes its time on all cores, with the time left on stderr where somebody looks."""
    if name not in SLOW_TO_FIT:
        return map
    from joblib import Parallel, delayed  # comes with scikit-learn
    from rich.console import Console
    from rich.progress import track

    console = Console(stderr=True)

    def each(of_block: OfBlock, blocks: Sequence[tuple[int, int]]) -> Iterable[Said]:
        said = Parallel(n_jobs=-1, return_as="generator")(delayed(of_block)(block) for block in blocks)
        quiet = not console.is_terminal
        yield from track(said, f"fitting {name}", len(blocks), console=console, disable=quiet)

    return each


def score_on_other_device(found: Outcomes, store: Store, metric: str) -> list[HeuristicScore]:
    """Every heuristic fitted on that device of the same kind that has most problems, asked about this one.

    Raises:
        UsageError: scikit-learn is not installed.
    """
    from kswatch.db.queries.basic import devices
    from kswatch.kernels.heuristics.training import fits

    others = [
        outcomes(store, device.uuid, metric=metric)
        for device in devices(store)
        if device.id != found.device.id and device.kind == found.device.kind and not device.simulated
    ]
    taught = max(others, key=lambda one: len(one.problems), default=None)
    asked = decided(measured_problems(found, metric))
    if taught is None or not decided(measured_problems(taught, metric)):
        return [_score(rule.name, rule.version, [], "device") for rule in HEURISTICS]
    ways = fits(device_facts(taught.device), metric)
    rules = {rule.name: ways[rule.name](measured_problems(taught, metric)) for rule in HEURISTICS}
    return [
        _score(rule.name, rule.version, [(one, rules[rule.name](one.problem)) for one in asked], "device")
        for rule in HEURISTICS
    ]


def _score(name: str, version: int, said: Said, held_out_by: str | None) -> HeuristicScore:
    won = [(one.speedup or 0.0, prediction) for one, prediction in said]
    figures = score([Outcome(prediction.predicts_fused, speedup) for speedup, prediction in won])
    bins = calibration(
        [(p.confidence, p.predicts_fused == (speedup > 1)) for speedup, p in won if p.confidence is not None]
    )
    return HeuristicScore(
        name,
        version,
        **asdict(figures),
        held_out=held_out_by,
        speedup_error=median_error(
            [(p.predicted_speedup, speedup) for speedup, p in won if p.predicted_speedup is not None]
        ),
        calibration_error=calibration_error(bins),
        calibration=tuple(bins),
        cost_errors=cost_errors([(prediction.costs, one.costs) for one, prediction in said]),
    )


def score_table(found: Outcomes, rows: Sequence[HeuristicScore]) -> str:
    """The scores as text."""
    lines = [f"{found.device.model}, fused against {', '.join(found.baselines) or 'nothing'}"]
    lines.append(f"{'heuristic':16} problems majority accuracy balanced   regret    tp    fp    fn    tn")
    for row in rows:
        shares = (f"{share(value):>8}" for value in (row.majority, row.accuracy, row.balanced_accuracy))
        counts = "".join(f"{count:6}" for count in (row.tp, row.fp, row.fn, row.tn))
        regret = percent(row.regret)
        lines.append(f"{row.heuristic:16} {row.problems:8} {' '.join(shares)} {regret:>8}{counts}")
    if rows and rows[0].held_out is None:
        lines.append("cost_model and learned may have seen these problems: --held-out fits without them")
    return "\n".join(lines)


def share(value: float | None) -> str:
    """Three digits, or a dash."""
    return "-" if value is None else f"{value:.3f}"


def percent(value: float | None) -> str:
    """A percentage with two digits, or a dash."""
    return "-" if value is None else f"{value:.2%}"
