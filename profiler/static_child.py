"""The child process that compiles one revision's kernels and prints what the compiler gave them, as JSON."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from importlib.util import find_spec

NOT_THERE = 5
"""Exit code: the revision is older than these figures."""


def main() -> int:
    """Print rows and faults; what cannot be had is one sentence on stderr, and the error's exit code."""
    from kswatch_errors import KswatchError

    if find_spec("kernels.fused.resources") is None or find_spec("kernels.fused.budget") is None:
        return NOT_THERE
    from kernels.fused.budget import faults, read_budget
    from kernels.fused.resources import listing

    try:
        rows = listing()
        found = faults(rows, read_budget())
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
