"""Suites of other projects: their products come from a child process, as text."""

from __future__ import annotations

from functools import cache

from kswatch.db.records import is_foreign
from kswatch.db.request_queue.confirmation import parse_problem
from kswatch.declared.suites import SUITES
from kswatch.errors import UsageError
from kswatch.profiler.empty_records import problem_of
from kswatch.profiler.foreign.sources import Foreign, ForeignSource
from kswatch.profiler.foreign.trial import try_out
from kswatch.profiler.planning.suite import Suite


def is_foreign_suite(name: str, foreign: Foreign) -> bool:
    """Whether the name is that of another project's suite."""
    return is_foreign(name) or (name in foreign.names and name not in {suite.name for suite in SUITES})


def foreign_suite(name: str, foreign: Foreign) -> Suite:
    """The suite of this name, with its marker.

    Raises:
        UsageError: it may not be used here, is not installed, or its module raises, exits or hangs.
    """
    return _suite(foreign.suite(name))


@cache
def _suite(source: ForeignSource) -> Suite:
    trial = try_out(source)
    if trial.failure:
        raise UsageError(trial.failure)
    problems = tuple(problem_of(parse_problem(text)) for text in trial.problems)
    return Suite(source.marked, trial.statement, lambda: problems)
