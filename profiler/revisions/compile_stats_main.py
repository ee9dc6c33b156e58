"""The child process that compiles one revision's kernels and prints their compiler figures as JSON."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path

from kswatch.errors import KswatchError
from kswatch.profiler.revisions.revision_kernels import load_kernels, require_own_kernels

NO_FIGURES = 5
"""Exit code: the revision is older than these figures."""
_MODULES = ("kswatch.kernels.fused.cuda_checks.resources", "kswatch.kernels.fused.cuda_checks.budget")


def main() -> int:
    """Print rows and faults; a failure is one sentence on stderr and the error's exit code."""
    folder = Path(sys.argv[1])
    try:
        load_kernels(folder)
        if not all(map(_exists, _MODULES)):
            return NO_FIGURES
        document = _figures()
        require_own_kernels(folder)
    except KswatchError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    json.dump(document, sys.stdout)
    return 0


def _exists(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:  # not even its package
        return False


def _figures() -> dict[str, list[dict[str, object]]]:
    from kswatch.kernels.fused.cuda_checks.budget import faults, read_budget
    from kswatch.kernels.fused.cuda_checks.resources import listing

    rows = listing()
    return {
        "rows": [asdict(row) for row in rows],
        "faults": [_fault(one) for one in faults(rows, read_budget())],
    }


def _fault(fault: object) -> dict[str, object]:
    names = ("kernel", "architecture", "what", "allowed", "found")
    return {name: str(getattr(fault, name)) for name in names}


if __name__ == "__main__":
    sys.exit(main())
