"""`budget.toml`: what each family of kernels may take of a GPU and must contain, held against rows."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kswatch.errors import UsageError
from kswatch.kernels.fused.cuda_checks.resources import ResourceRow

PATH = Path(__file__).with_name("budget.toml")
LIMITS = ("registers", "spill_bytes")
LISTS = ("contains", "lacks")

Budget = dict[str, dict[str, Any]]
"""By family: limits, and under an architecture's name those that differ there."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that a kernel has or lacks against its budget."""

    kernel: str
    architecture: str
    what: str
    """A limit's name, or a mnemonic."""
    allowed: str
    found: str

    def __str__(self) -> str:
        return f"{self.architecture} {self.kernel}: {self.what} {self.found}, allowed {self.allowed}"


def read_budget(path: Path = PATH) -> Budget:
    """The budget of a file.

    Raises:
        UsageError: the file is missing or no TOML, or names a limit that there is not.
    """
    try:
        budget = tomllib.loads(path.read_text())
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise UsageError(
            f"cannot read the budget {path}: {error}; write it as kernels/fused/cuda_checks/budget.toml"
        ) from error
    for family, entries in budget.items():
        flat = {key for key in entries if not key.startswith("sm_")}
        flat |= {key for name in entries.keys() - flat for key in entries[name]}
        if unknown := flat - {*LIMITS, *LISTS}:
            raise UsageError(
                f"{path}: [{family}] has {sorted(unknown)}; it may have {', '.join(LIMITS + LISTS)}"
            )
    return budget


def faults(rows: Iterable[ResourceRow], budget: Budget) -> list[Fault]:
    """Everything in which a row is against its family's budget; a family without one is a fault, too."""
    return [fault for row in rows for fault in _faults_of(row, budget)]


def _faults_of(row: ResourceRow, budget: Budget) -> Iterable[Fault]:
    if row.family not in budget:
        yield Fault(row.kernel, row.architecture, "family", ", ".join(budget), row.family)
        return
    family = budget[row.family]
    limits = {**family, **family.get(row.architecture, {})}
    for what in LIMITS:
        found = getattr(row, what)
        if what in limits and found > limits[what]:
            yield Fault(row.kernel, row.architecture, what, f"at most {limits[what]}", str(found))
    for mnemonic in limits.get("contains", ()):
        if not row.instructions.get(mnemonic):
            yield Fault(row.kernel, row.architecture, mnemonic, "at least 1", "0")
    for mnemonic in limits.get("lacks", ()):
        if found := row.instructions.get(mnemonic):
            yield Fault(row.kernel, row.architecture, mnemonic, "none", str(found))
