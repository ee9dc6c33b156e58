"""The child process of `trial.py`: imports what its parent names, and answers what that showed."""

from __future__ import annotations

import os
import sys
from multiprocessing.connection import Connection

import torch

from kswatch.errors import MeasurementError
from kswatch.kernels.pattern import Pattern
from kswatch.kernels.problem import Problem
from kswatch.profiler.child_process import exit_with_parent
from kswatch.profiler.foreign.loading import make_implementation, statement_of, suite_of
from kswatch.profiler.foreign.sources import SUITE_GROUP, ForeignSource, Trial

SMALL = Problem(Pattern(2, 16, 16, 2), 16, "fp32", "batch_last")


@exit_with_parent()
def main() -> None:
    """Answer one message; the file descriptor of the pipe is the argument."""
    connection = Connection(int(sys.argv[1]))
    connection.send(tried(connection.recv()))
    sys.stdout.flush()
    os._exit(0)  # threads of foreign code must not keep the process


def tried(source: ForeignSource) -> Trial:
    """What importing it shows."""
    try:
        if source.group == SUITE_GROUP:
            statement, problems = suite_of(source)
            return Trial(statement=statement, problems=tuple(problems))
        made = make_implementation(source)
    except MeasurementError as error:
        return Trial(str(error))
    try:
        reason = made.unsupported(SMALL, torch.device("cpu"))
    except Exception as error:
        reason = f"{type(error).__name__}: {error}"
    return Trial(statement=statement_of(type(made)), unsupported=reason and str(reason)[:480])


if __name__ == "__main__":
    main()
