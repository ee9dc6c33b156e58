"""Confirmation requests: the flagged cells to measure again, and the revisions to measure them with.

The field names are the keys of the request's stored arguments.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from kswatch.db.records import LAYOUTS, ProblemKey
from kswatch.errors import UsageError


@dataclass(frozen=True)
class ConfirmationRequest:
    """The arguments of a request to measure again what one run flagged."""

    of_run: int
    problem: tuple[ProblemKey, ...]
    flagged: tuple[str, ...]
    """The implementations whose latency moved."""
    budget: str | None = None
    """The longest time to measure, as 10m."""
    good_revision: str | None = None
    bad_revision: str | None = None
    """Commits of the last good run and of `of_run`, to be measured interleaved."""
    why_alone: str | None = None
    """The reason why only the present revision can be measured, where there are no two commits."""

    def as_arguments(self) -> dict[str, object]:
        """The arguments as they are stored; what is not known is left out."""
        values = vars(self) | {
            "problem": [problem_text(one) for one in self.problem],
            "flagged": list(self.flagged),
        }
        return {name: value for name, value in values.items() if value is not None}

    @classmethod
    def from_arguments(cls, arguments: Mapping[str, Any]) -> ConfirmationRequest | None:
        """The request with these stored arguments; None where they do not name the flagged run.

        Raises:
            UsageError: a problem is malformed.
        """
        if not isinstance(arguments.get("of_run"), int):
            return None
        known = {name: arguments.get(name) for name in cls.__dataclass_fields__}
        problems = tuple(parse_problem(text) for text in known["problem"] or ())
        return cls(**known | {"problem": problems, "flagged": tuple(known["flagged"] or ())})


def problem_text(problem: ProblemKey) -> str:
    """The problem as a,b,c,d,batch,precision,layout, and behind it the subject unless it is a factor."""
    values = vars(problem).values()
    return ",".join(map(str, values if problem.subject else list(values)[:-1]))


def parse_problem(text: str) -> ProblemKey:
    """The problem written as `problem_text` does.

    Raises:
        UsageError: the text is malformed.
    """
    parts = [part.strip() for part in text.split(",")]
    numbers = all(part.isdecimal() for part in parts[:5])
    if len(parts) not in (7, 8) or not numbers or parts[6] not in LAYOUTS:
        raise UsageError(f"{text!r} is not a problem; write a,b,c,d,batch,precision,layout")
    a, b, c, d, batch = map(int, parts[:5])
    return ProblemKey(a, b, c, d, batch, *parts[5:])
