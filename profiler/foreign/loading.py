"""Imports foreign code; called in child processes alone, since a module may raise, exit or hang."""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib import import_module
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

from kswatch.db.request_queue.confirmation import problem_text
from kswatch.errors import KswatchError, MeasurementError
from kswatch.kernels.implementation import Implementation
from kswatch.kernels.problem import Problem
from kswatch.profiler.empty_records import problem_key
from kswatch.profiler.foreign.sources import ForeignSource

MOST_PROBLEMS = 100_000
Result = TypeVar("Result")


def make_implementation(source: ForeignSource) -> Implementation:
    """The foreign implementation, made without arguments where the source names a class.

    Raises:
        MeasurementError: its module raises or exits, lacks the name, or that is no `Implementation`.
    """
    found = _attribute(source)
    made = _guarded(source, "made", found) if isinstance(found, type) else found
    if not isinstance(made, Implementation):
        raise MeasurementError(
            f"{source.in_words}: {_name(source)} is no kswatch.kernels.implementation.Implementation"
        )
    return made


def suite_of(source: ForeignSource) -> tuple[str, list[str]]:
    """The statement of a foreign suite, the first line of its docstring, and its products as text.

    Raises:
        MeasurementError: its module raises or exits, lacks the name, or that yields no products.
    """
    rule = _attribute(source)
    if not callable(rule):
        raise MeasurementError(f"{source.in_words}: {_name(source)} is no function that returns problems")
    problems = _guarded(source, "called", lambda: list(rule()))
    wrong = next((one for one in problems if not isinstance(one, Problem)), None)
    if wrong is not None or not 0 < len(problems) <= MOST_PROBLEMS:
        raise MeasurementError(
            f"{source.in_words}: a suite has 1 to {MOST_PROBLEMS:,} kswatch.kernels.problem.Problem, "
            f"not {len(problems):,} values" + (f" such as {wrong!r:.60}" if wrong is not None else "")
        )
    return statement_of(rule), [problem_text(problem_key(one)) for one in problems]


def statement_of(value: object) -> str:
    """The first line of a docstring; empty without one."""
    lines = (getattr(value, "__doc__", None) or "").strip().splitlines()
    return lines[0].removesuffix(".") if lines else ""


def _attribute(source: ForeignSource) -> Any:  # noqa: ANN401  (whatever the name means)
    module = _guarded(source, "imported", lambda: _module(source))
    found: Any = module
    for part in _name(source).split("."):
        if not hasattr(found, part):
            raise MeasurementError(f"{source.in_words}: its module has no {_name(source)}")
        found = getattr(found, part)
    return found


def _module(source: ForeignSource) -> ModuleType:
    where = source.target.rpartition(":")[0]
    if not source.is_file:
        return import_module(where)
    name = f"kswatch_foreign_{source.version}"
    if name in sys.modules:
        return sys.modules[name]
    spec = spec_from_file_location(name, where)
    assert spec is not None and spec.loader is not None  # the name ends in .py
    sys.path.append(str(Path(where).parent))  # at the end, so that its neighbours hide nothing
    module = sys.modules[name] = module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _name(source: ForeignSource) -> str:
    return source.target.rpartition(":")[2]


def _guarded(source: ForeignSource, action: str, call: Callable[[], Result]) -> Result:
    """What the call returns; whatever it raises is one sentence."""
    try:
        return call()
    except KswatchError:
        raise
    except SystemExit as error:
        raise MeasurementError(f"{source.in_words} calls sys.exit({error.code!r}) when {action}") from None
    except Exception as error:
        reason = f"{type(error).__name__}: {error}"
        raise MeasurementError(f"{source.in_words} cannot be {action}: {reason}"[:480]) from None
