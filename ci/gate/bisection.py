"""Which commit made a cell slower: binary search with the gate's comparison as the test."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from kswatch.ci.gate.cell import CellVerdict
from kswatch.ci.gate.sequential import Care, GateResult
from kswatch.errors import MeasurementError

Says = Literal["good", "bad", "skipped"]
Compare = Callable[[str, Care, CellVerdict | None], GateResult]
"""Good against a commit; all cells asked for, or one alone."""
Suspects = Callable[[Sequence[str], str], tuple[str, list[str]]]


@dataclass(frozen=True)
class Step:
    """One commit that was looked at."""

    commit: str
    says: Says
    change: float | None
    reason: str | None = None


@dataclass(frozen=True)
class Bisection:
    """What was found; several suspects where some could not be measured."""

    first_bad: str
    suspects: tuple[str, ...]
    """The first bad commit and those before it that could not be told apart from it."""
    cell: CellVerdict
    """The cell that was followed, with what the bad revision does to it."""
    steps: tuple[Step, ...]


def bisect(
    good: str, bad: str, suspects_of: Suspects, compare: Compare, care: Care, say: Callable[[str], None]
) -> Bisection:
    """The first bad commit after `good`, and how much slower the bad revision is.

    Args:
        good: A commit that is fine.
        bad: A later one that is not.
        suspects_of: The commits between, by what is known so far.
        compare: Measures good against a commit.
        care: How carefully.
        say: Told what is going on.

    Raises:
        MeasurementError: good or bad cannot be measured, or bad is no worse than good here.
    """
    cell = _reproduced(compare(bad, care, None))
    say(f"{bad[:12]} is bad: {_told(cell)}")
    half = math.expm1(math.log1p(cell.change) / 2) if cell.change else care.floor
    # A regression is known to be there: less proof is needed than for the claim that there is one.
    careful = replace(care, floor=half, confirming_pairs=2, confirmation_rate=0.05)
    goods, skipped, steps = [good], set[str](), list[Step]()
    while True:
        newest, older = suspects_of(goods, bad)
        left = [commit for commit in older if commit not in skipped]
        if not left:
            return Bisection(newest, (newest, *older), cell, tuple(steps))
        step = _look_at(left[0], compare(left[0], careful, cell), cell)
        steps.append(step)
        say(f"{step.commit[:12]} is {step.says}{_percent(step.change)}; {len(left) - 1} more suspects")
        if step.says == "good":
            goods.append(step.commit)
        elif step.says == "bad":
            bad = step.commit
        else:
            skipped.add(step.commit)


def _reproduced(result: GateResult) -> CellVerdict:
    """The worst cell of the bad revision."""
    if result.broken:
        raise MeasurementError(
            f"the {result.broken.side} revision cannot be measured: {result.broken.reason}"
        )
    if not result.regressions:
        raise MeasurementError(
            f"{result.head.commit[:12]} is no worse than {result.base.commit[:12]} in what was measured; "
            "name the cells with --pattern, --batch, --precision and --layout, or give more --budget"
        )
    return result.regressions[0]


def _look_at(commit: str, result: GateResult, cell: CellVerdict) -> Step:
    if result.broken:
        return Step(commit, "skipped", None, result.broken.reason)
    if result.outcome == "nothing changed":
        return Step(commit, "good", 0.0, "nothing that feeds the cell changed")
    (found,) = [one for one in result.verdicts if _same_cell(one, cell)]
    lost = cell.verdict is None
    if lost or found.verdict is None:
        as_bad = lost and found.regressed
        return Step(commit, "bad" if as_bad else "good" if lost else "skipped", found.change, found.reason)
    if found.verdict == "slower":
        return Step(commit, "bad", found.change)
    if found.verdict in ("same", "faster"):
        return Step(commit, "good", found.change)
    return Step(commit, "skipped", found.change, found.reason)


def _same_cell(one: CellVerdict, other: CellVerdict) -> bool:
    return (one.problem, one.implementation) == (other.problem, other.implementation)


def _told(cell: CellVerdict) -> str:
    said = cell.verdict or cell.head_status
    return f"{said}{_percent(cell.change)} on {cell.implementation} {cell.problem.words}"


def _percent(change: float | None) -> str:
    return "" if change is None else f" ({100 * change:+.1f} %)"


def bisection_text(found: Bisection, subjects: Mapping[str, str]) -> str:
    """For a terminal; `subjects` are what commits say of themselves."""
    from kswatch.ci.formats.escape import plain

    lines = [f"first bad commit: {found.first_bad} {plain(subjects.get(found.first_bad, ''))}".rstrip()]
    lines.append(f"  {_told(found.cell)}")
    if len(found.suspects) > 1:
        lines.append("  or one of these, which could not be measured:")
        lines += [f"    {one} {plain(subjects.get(one, ''))}".rstrip() for one in found.suspects[1:]]
    for one in found.steps:
        reason = f": {plain(one.reason)}" if one.reason else ""
        lines.append(f"  {one.commit[:12]} {one.says}{_percent(one.change)}{reason}")
    return "\n".join(lines)


def bisection_row(found: Bisection) -> dict[str, object]:
    """For scripts: one object."""
    problem = found.cell.problem
    return {
        "first_bad": found.first_bad,
        "suspects": list(found.suspects),
        "pattern": problem.pattern,
        "batch": problem.batch,
        "precision": problem.precision,
        "layout": problem.layout,
        "implementation": found.cell.implementation,
        "change": found.cell.change,
        "change_low": found.cell.change_low,
        "change_high": found.cell.change_high,
        "steps": [vars(step) for step in found.steps],
    }
