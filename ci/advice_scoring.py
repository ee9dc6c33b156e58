"""`kswatch heuristics score`: every heuristic against what a device's newest measurements say."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

from db.records import ProblemKey
from db.summary import Outcomes
from kernels.heuristics import HEURISTICS, Heuristic
from kernels.heuristics.heuristic import DeviceFacts
from kernels.heuristics.score import Outcome, score
from kernels.pattern import Pattern
from kernels.problem import Problem


@dataclass(frozen=True)
class HeuristicScore:
    """The contract of `kswatch heuristics score --json`; None where a class is empty."""

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


def score_heuristics(found: Outcomes) -> list[HeuristicScore]:
    """One score per heuristic, over the problems that were not left out."""
    facts = {**found.device.facts, **asdict(found.device)}
    return [_score(rule, found, facts) for rule in HEURISTICS]


def _score(rule: Heuristic, found: Outcomes, facts: DeviceFacts) -> HeuristicScore:
    said = [
        Outcome(rule.predict(as_problem(one.problem), facts).predicts_fused, one.outcome.speedup)
        for one in found.problems
        if one.outcome.speedup is not None
    ]
    return HeuristicScore(rule.name, rule.version, **asdict(score(said)))


def as_problem(key: ProblemKey) -> Problem:
    """The problem that the store names so."""
    return Problem(Pattern(key.a, key.b, key.c, key.d), key.batch, key.precision, key.layout)  # type: ignore[arg-type]


def score_table(found: Outcomes, rows: Sequence[HeuristicScore]) -> str:
    """The scores as text."""
    lines = [f"{found.device.model}, fused against {', '.join(found.baselines) or 'nothing'}"]
    lines.append(f"{'heuristic':16} problems majority accuracy balanced   regret    tp    fp    fn    tn")
    for row in rows:
        shares = (_share(value) for value in (row.majority, row.accuracy, row.balanced_accuracy))
        counts = "".join(f"{count:6}" for count in (row.tp, row.fp, row.fn, row.tn))
        regret = "-" if row.regret is None else f"{row.regret:.2%}"
        lines.append(f"{row.heuristic:16} {row.problems:8} {' '.join(shares)} {regret:>8}{counts}")
    return "\n".join(lines)


def _share(value: float | None) -> str:
    return f"{'-' if value is None else format(value, '.3f'):>8}"
