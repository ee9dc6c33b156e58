"""Compares compiled kernels with `budget.toml`: maximum resources, required and forbidden instructions."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kswatch.errors import UsageError
from kswatch.kernels.fused.cuda_checks.resources import KernelResources
from kswatch.kernels.problem import PRECISIONS

PATH = Path(__file__).with_name("budget.toml")
LIMITS = ("registers", "spill_bytes")
LISTS = ("contains", "contains_one_of", "lacks")

CodeBudget = dict[str, dict[str, Any]]
"""Limits by family; a section of an architecture, or of a precision, holds the limits that differ there."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One violation of the budget by a kernel."""

    kernel: str
    architecture: str
    what: str
    """The name of a limit, or a mnemonic."""
    allowed: str
    found: str

    def __str__(self) -> str:
        return f"{self.architecture} {self.kernel}: {self.what} {self.found}, allowed {self.allowed}"


def read_budget(path: Path = PATH) -> CodeBudget:
    """The budget of a file.

    Raises:
        UsageError: the file is missing, is not TOML, or names an unknown limit.
    """
    try:
        budget = tomllib.loads(path.read_text())
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise UsageError(
            f"cannot read the budget {path}: {error}; write it as kernels/fused/cuda_checks/budget.toml"
        ) from error
    for family, entries in budget.items():
        flat = {key for key in entries if not (key.startswith("sm_") or key in PRECISIONS)}
        flat |= {key for name in entries.keys() - flat for key in entries[name]}
        if unknown := flat - {*LIMITS, *LISTS}:
            raise UsageError(
                f"{path}: [{family}] has {sorted(unknown)}; it may have {', '.join(LIMITS + LISTS)}"
            )
    return budget


def faults(rows: Iterable[KernelResources], budget: CodeBudget) -> list[Fault]:
    """All violations of the budgets of the rows' families; a family without a budget is a fault, too."""
    return [fault for row in rows for fault in _faults_of(row, budget)]


def _faults_of(row: KernelResources, budget: CodeBudget) -> Iterable[Fault]:
    if row.family not in budget:
        yield Fault(row.kernel, row.architecture, "family", ", ".join(budget), row.family)
        return
    family = budget[row.family]
    precision = row.kernel.partition(" ")[0]
    limits = {**family, **family.get(row.architecture, {}), **family.get(precision, {})}
    for limit in LIMITS:
        found = getattr(row, limit)
        if limit in limits and found > limits[limit]:
            yield Fault(row.kernel, row.architecture, limit, f"at most {limits[limit]}", str(found))
    for mnemonic in limits.get("contains", ()):
        if not row.instructions.get(mnemonic):
            yield Fault(row.kernel, row.architecture, mnemonic, "at least 1", "0")
    alternatives = limits.get("contains_one_of", ())
    if alternatives and not any(row.instructions.get(mnemonic) for mnemonic in alternatives):
        yield Fault(row.kernel, row.architecture, " or ".join(alternatives), "at least 1", "0")
    for mnemonic in limits.get("lacks", ()):
        if found := row.instructions.get(mnemonic):
            yield Fault(row.kernel, row.architecture, mnemonic, "none", str(found))
