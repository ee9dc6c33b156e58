"""The static gate, which needs no GPU: machine code against its budget and against another revision."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from kswatch.db.compiled_code.resources import CodeFault, Figures
from kswatch.db.queries.compiled_code import ResourceRow
from kswatch.db.records import RevisionRecord

FIGURES = ("registers", "spill_bytes", "shared_bytes")


@dataclass(frozen=True)
class CodeChange:
    """One figure of one kernel that differs from the base; None where that revision lacks the kernel."""

    kernel: str
    architecture: str
    figure: str
    """`registers`, `spill_bytes`, `shared_bytes`, `instructions` (their total) or `kernel`."""
    before: int | None
    after: int | None

    @property
    def regressed(self) -> bool:
        """Whether the head spills more; other figures may grow for the sake of speed."""
        return self.figure == "spill_bytes" and (self.after or 0) > (self.before or 0)


@dataclass(frozen=True)
class StaticResult:
    """The head's machine code, its faults against the budget and its changes from the base."""

    head: RevisionRecord
    base: RevisionRecord | None
    rows: tuple[ResourceRow, ...]
    faults: tuple[CodeFault, ...]
    changes: tuple[CodeChange, ...]
    note: str | None = None
    different: tuple[tuple[ResourceRow, ResourceRow], ...] = ()
    """Kernels whose machine code differs, base and head; empty where they are not compared."""

    @property
    def regressions(self) -> list[CodeChange]:
        """Changes that fail the gate."""
        return [one for one in self.changes if one.regressed]

    @property
    def exit_code(self) -> int:
        """1 on a kernel over its budget, or one that spills more than the base's; else 0."""
        return int(bool(self.faults or self.regressions))


def judge_code(
    head: tuple[RevisionRecord, Figures], base: tuple[RevisionRecord, Figures | None] | None
) -> StaticResult:
    """Compare the head with its budget, and with the base where there is one."""
    revision, figures = head
    changes: tuple[CodeChange, ...] = ()
    different: tuple[tuple[ResourceRow, ResourceRow], ...] = ()
    note = None
    if base is not None and base[1] is None:
        note = f"the base {base[0].commit[:12]} is older than these figures, so nothing is compared with it"
    elif base is not None and base[1] is not None:
        compilers = [{row.compiler for row in of.rows} for of in (base[1], figures)]
        if compilers[0] != compilers[1]:
            note = "base and head were compiled by different compilers: their figures are not compared"
        else:
            before, after = _by_kernel(base[1]), _by_kernel(figures)
            changes = tuple(_changes(before, after))
            common = [(before[key], after[key]) for key in sorted(before.keys() & after.keys())]
            different = tuple(pair for pair in common if pair[0].code_hash != pair[1].code_hash)
    compared = base[0] if base else None
    return StaticResult(revision, compared, figures.rows, figures.faults, changes, note, different)


def _by_kernel(figures: Figures) -> dict[tuple[str, str], ResourceRow]:
    return {(row.kernel, row.architecture): row for row in figures.rows}


def _changes(
    before: Mapping[tuple[str, str], ResourceRow], after: Mapping[tuple[str, str], ResourceRow]
) -> Iterator[CodeChange]:
    for key in sorted(before.keys() | after.keys()):
        old, new = before.get(key), after.get(key)
        if old is None or new is None:
            yield CodeChange(*key, "kernel", None if old is None else 1, None if new is None else 1)
            continue
        for figure in FIGURES:
            if getattr(old, figure) != getattr(new, figure):
                yield CodeChange(*key, figure, getattr(old, figure), getattr(new, figure))
        counts = [sum(row.instructions.values()) for row in (old, new)]
        if counts[0] != counts[1]:
            yield CodeChange(*key, "instructions", *counts)
