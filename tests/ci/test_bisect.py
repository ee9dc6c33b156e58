from __future__ import annotations

import pytest

from ci.bisect import bisect, bisection_row, bisection_text
from ci.gate import Care, decide
from db.paired import BrokenRevision
from kswatch_errors import MeasurementError
from tests.ci.gate_sessions import DrawnSession

COMMITS = [f"{number:040x}" for number in range(1, 17)]
CARE = Care()


class Line:
    """Commits one after the other; from one of them on a cell is slower."""

    def __init__(self, first_bad: int, change: float = 0.1, unbuildable: tuple[int, ...] = ()) -> None:
        self._first_bad, self._change, self._unbuildable = first_bad, change, unbuildable
        self.measured: list[int] = []

    def suspects(self, good, bad):
        after = max(COMMITS.index(commit) for commit in good if commit in COMMITS)
        between = COMMITS[after + 1 : COMMITS.index(bad)]
        middle = len(between) / 2
        return bad, sorted(between, key=lambda commit: abs(between.index(commit) + 0.5 - middle))

    def compare(self, commit, care, cell):
        number = COMMITS.index(commit)
        self.measured.append(number)
        slower = {0: self._change} if number >= self._first_bad else {}
        session = DrawnSession(1 if cell else 3, truth=slower, seed=number)
        if number in self._unbuildable:
            session.broken = BrokenRevision("head", commit, "it does not compile", "error: x")
        return decide(session, care)

    def search(self):
        return bisect(COMMITS[0], COMMITS[-1], self.suspects, self.compare, CARE, lambda sentence: None)


@pytest.mark.parametrize("first_bad", [1, 2, 7, 8, 14, 15])
def test_the_first_bad_commit_is_found_in_few_steps(first_bad):
    line = Line(first_bad)
    found = line.search()
    assert found.first_bad == COMMITS[first_bad] and found.suspects == (COMMITS[first_bad],)
    assert found.cell.change == pytest.approx(0.1, abs=0.02)
    assert len(line.measured) <= 1 + 4


def test_a_commit_that_does_not_build_is_passed_over():
    found = Line(9, unbuildable=(7, 8)).search()
    assert {step.commit for step in found.steps if step.says == "skipped"} <= {COMMITS[7], COMMITS[8]}
    assert found.first_bad == COMMITS[9]
    assert set(found.suspects) == {COMMITS[7], COMMITS[8], COMMITS[9]}
    told = bisection_text(found, {COMMITS[9]: "Unroll\nless"})
    assert f"first bad commit: {COMMITS[9]} Unroll less" in told and "could not be measured" in told
    assert bisection_row(found)["first_bad"] == COMMITS[9]


def test_what_is_not_slower_here_cannot_be_searched_for():
    with pytest.raises(MeasurementError, match="is no worse than"):
        Line(16).search()


def test_a_bad_revision_that_does_not_build_is_told():
    with pytest.raises(MeasurementError, match="head revision cannot be measured: it does not compile"):
        Line(3, unbuildable=(15,)).search()
