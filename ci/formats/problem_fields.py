"""The fields of a problem in rows for scripts and in explanations of alerts."""

from __future__ import annotations

from kswatch.db.records import ProblemKey


def problem_fields(problem: ProblemKey) -> dict[str, object]:
    """Pattern, batch, precision and layout, by the glossary's names."""
    return {
        "pattern": problem.pattern,
        "batch": problem.batch,
        "precision": problem.precision,
        "layout": problem.layout,
    }
