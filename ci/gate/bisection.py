"""Bisection: the commit that made a cell slower, found by binary search with the gate as the test."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from kswatch.ci.formats.escape import plain
from kswatch.ci.gate.cell import GateConfig
from kswatch.ci.gate.sequential import GateResult
from kswatch.db.gates.records import CellVerdict
from kswatch.errors import MeasurementError


class NoRegressionError(MeasurementError):
    """The bad revision is no worse than the good one in what was measured, or one of them does not build."""


CommitStatus = Literal["good", "bad", "skipped"]
Compare = Callable[[str, GateConfig, CellVerdict | None], GateResult]
"""The good revision against a commit: all selected cells, or one cell alone."""
CandidateCommits = Callable[[Sequence[str], str], tuple[str, list[str]]]
"""From the good commits and the bad one: the newest candidate, and the older ones in order of measuring."""


@dataclass(frozen=True)
class BisectionStep:
    """One measured commit."""

    commit: str
    status: CommitStatus
    change: float | None
    reason: str | None = None


@dataclass(frozen=True)
class ExcludedCommit:
    """Why a commit is not measured, and whether it may be the culprit nevertheless."""

    reason: str
    may_be_culprit: bool = False


@dataclass
class Progress:
    """What a search knows so far, so that it can be continued."""

    cell: CellVerdict | None = None
    """The worst cell of the bad revision, which is followed; None before it was measured."""
    steps: list[BisectionStep] = field(default_factory=list)


@dataclass(frozen=True)
class Bisection:
    """The result of a search; several suspects where some commits could not be measured."""

    first_bad: str
    suspects: tuple[str, ...]
    """The first bad commit, and earlier ones that could not be measured."""
    cell: CellVerdict
    """The measured cell, as it is in the bad revision."""
    steps: tuple[BisectionStep, ...]


def bisect(
    good: str,
    bad: str,
    candidates_of: CandidateCommits,
    compare: Compare,
    config: GateConfig,
    report: Callable[[str], None],
    *,
    excluded: Mapping[str, ExcludedCommit] = {},  # noqa: B006  (only read)
    progress: Progress | None = None,
    on_progress: Callable[[Progress], None] = lambda progress: None,
    may_continue: Callable[[], bool] = lambda: True,
) -> Bisection | None:
    """The first bad commit after `good`, and how much slower the bad revision is.

    Args:
        good: A commit without the regression.
        bad: A later one that has it.
        candidates_of: The commits that may be the first bad one, given the good ones so far and the bad one.
        compare: Measures the good revision against a commit.
        config: Limits of the comparisons.
        report: Receives one line of progress per step.
        excluded: Commits that are not measured.
        progress: Of an earlier search that was stopped.
        on_progress: Receives the progress after each measurement, to store it.
        may_continue: Asked before each measurement.

    Returns:
        The result; None where `may_continue` stopped the search.

    Raises:
        NoRegressionError: good or bad cannot be built, or bad is no worse than good here.
        MeasurementError: the device cannot be used, or bad is not decided within the time limit.
    """
    known = progress or Progress()
    if known.cell is None:
        if not may_continue():
            return None
        known.cell = _worst_regression(compare(bad, config, None))
        on_progress(known)
        report(f"{bad[:12]} is bad: {describe_cell(known.cell)}")
    cell = known.cell
    half = math.expm1(math.log1p(cell.change) / 2) if cell.change else config.floor
    # the regression is established: a step needs less evidence than a gate does
    step_config = replace(config, floor=half, confirming_pairs=2, confirmation_rate=0.05)
    while True:
        goods = [good, *(step.commit for step in known.steps if step.status == "good")]
        bads = [step.commit for step in known.steps if step.status == "bad"]
        newest, older = candidates_of(goods, bads[-1] if bads else bad)
        decided = {step.commit for step in known.steps}
        left = [commit for commit in older if commit not in decided]
        if not left:
            return Bisection(newest, (newest, *_possible(older, excluded)), cell, tuple(known.steps))
        if left[0] in excluded:
            step = BisectionStep(left[0], "skipped", None, excluded[left[0]].reason)
        elif may_continue():
            step = _classify(left[0], compare(left[0], step_config, cell), cell)
        else:
            return None
        known.steps.append(step)
        on_progress(known)
        because = f": {step.reason}" if step.status == "skipped" and step.reason else ""
        suspects = f"{len(left) - 1} more suspects"
        report(f"{step.commit[:12]} is {step.status}{_percent(step.change)}{because}; {suspects}")


def _possible(commits: Sequence[str], excluded: Mapping[str, ExcludedCommit]) -> list[str]:
    """The commits that were not measured and may be the culprit: a reverted one is not."""
    return [commit for commit in commits if commit not in excluded or excluded[commit].may_be_culprit]


def _worst_regression(result: GateResult) -> CellVerdict:
    """The worst cell of the bad revision."""
    if result.broken:
        raise NoRegressionError(
            f"the {result.broken.side} revision cannot be measured: {result.broken.reason}"
        )
    undecided = [one for one in result.verdicts if one.verdict in (None, "ambiguous")]
    if undecided and not result.regressions:
        raise MeasurementError(
            f"{len(undecided)} of {len(result.verdicts)} cells of {result.head.commit[:12]} are not decided "
            f"({undecided[0].reason or 'ambiguous'}); give more --budget, or wait for a quieter machine"
        )
    if not result.regressions:
        raise NoRegressionError(
            f"{result.head.commit[:12]} is no worse than {result.base.commit[:12]} in the measured cells; "
            "name the cells with --pattern, --batch, --precision and --layout, or give more --budget"
        )
    return result.regressions[0]


def _classify(commit: str, result: GateResult, cell: CellVerdict) -> BisectionStep:
    if result.broken:
        return BisectionStep(commit, "skipped", None, result.broken.reason)
    if result.outcome == "nothing changed":
        return BisectionStep(commit, "good", 0.0, "nothing that feeds the cell changed")
    key = (cell.problem, cell.implementation)
    (found,) = [one for one in result.verdicts if (one.problem, one.implementation) == key]
    if cell.verdict is None:  # the bad revision lost the result
        return BisectionStep(commit, "bad" if found.regressed else "good", found.change, found.reason)
    statuses: dict[str | None, CommitStatus] = {"slower": "bad", "same": "good", "faster": "good"}
    status = statuses.get(found.verdict, "skipped")
    return BisectionStep(commit, status, found.change, found.reason if status == "skipped" else None)


def describe_cell(cell: CellVerdict) -> str:
    """The verdict on a cell, its change and its name."""
    result = cell.verdict or cell.head_status
    return f"{result}{_percent(cell.change)} on {cell.implementation} {cell.problem.words}"


def _percent(change: float | None) -> str:
    return "" if change is None else f" ({100 * change:+.1f} %)"


def bisection_text(found: Bisection, subjects: Mapping[str, str]) -> str:
    """For a terminal; `subjects` are the commits' subject lines."""
    lines = [f"first bad commit: {found.first_bad} {plain(subjects.get(found.first_bad, ''))}".rstrip()]
    lines.append(f"  {describe_cell(found.cell)}")
    if len(found.suspects) > 1:
        lines.append("  or one of these, which could not be measured:")
        older = found.suspects[1:]
        lines += [f"    {commit} {plain(subjects.get(commit, ''))}".rstrip() for commit in older]
    for step in found.steps:
        reason = f": {plain(step.reason)}" if step.reason else ""
        lines.append(f"  {step.commit[:12]} {step.status}{_percent(step.change)}{reason}")
    return "\n".join(lines)


def bisection_row(found: Bisection) -> dict[str, object]:
    """The result as one JSON object."""
    return {
        "first_bad": found.first_bad,
        "suspects": list(found.suspects),
        **found.cell.problem.fields,
        "implementation": found.cell.implementation,
        "change": found.cell.change,
        "change_low": found.cell.change_low,
        "change_high": found.cell.change_high,
        "steps": [
            {"commit": step.commit, "status": step.status, "change": step.change, "reason": step.reason}
            for step in found.steps
        ],
    }
