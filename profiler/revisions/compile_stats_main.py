"""The child process that compiles one revision's kernels and prints what the compiler gave them, as JSON."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path

from kswatch.errors import KswatchError, MeasurementError
from kswatch.profiler.revisions.revision_kernels import load_kernels, require_own_kernels

NOT_THERE = 5
"""Exit code: the revision is older than these figures."""


def main() -> int:
    """Print rows and faults; what cannot be had is one sentence on stderr, and the error's exit code."""
    try:
        load_kernels(folder := Path(sys.argv[1]))
    except MeasurementError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    if (
        find_spec("kswatch.kernels.fused.cuda_checks.resources") is None
        or find_spec("kswatch.kernels.fused.cuda_checks.budget") is None
    ):
        return NOT_THERE
    from kswatch.kernels.fused.cuda_checks.budget import faults, read_budget
    from kswatch.kernels.fused.cuda_checks.resources import listing

    try:
        rows = listing()
        found = faults(rows, read_budget())
        require_own_kernels(folder)
    except KswatchError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    document = {"rows": [asdict(row) for row in rows], "faults": [_fault(fault) for fault in found]}
    json.dump(document, sys.stdout)
    return 0


def _fault(fault: object) -> dict[str, str]:
    names = ("kernel", "architecture", "what", "allowed", "found")
    return {name: str(getattr(fault, name)) for name in names}


if __name__ == "__main__":
    sys.exit(main())
