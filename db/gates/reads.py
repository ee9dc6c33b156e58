"""Reads of gates: the list, and one gate's cells, findings and machine code."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Select, case, select

from kswatch.db.backend.mapping import PROBLEM_COLUMNS, columns_of, field_names, key_first
from kswatch.db.decoding import DamagedValueError
from kswatch.db.gates.records import CellVerdict, CodeFinding, GateRecord, KernelCode
from kswatch.db.schema.tables import Cell, Device, GateCell, GateCode, GateFinding, GateRun, Problem
from kswatch.db.store import Store

LARGEST_CODE_BYTES = 4_000_000
"""Of one kernel's disassembly when it is unpacked."""


@dataclass(frozen=True, kw_only=True)
class GateRow(GateRecord):
    """One gate, with its device where it has one."""

    id: int
    device: str | None
    model: str | None
    simulated: bool

    @property
    def verdict(self) -> str:
        """`regressed`, `not measured` or `fine`."""
        return {0: "fine", 1: "regressed"}.get(self.exit_code, "not measured")


def gates(store: Store, limit: int | None = None, ids: tuple[int, ...] | None = None) -> list[GateRow]:
    """The gates, the newest first."""
    query = _GATES.order_by(GateRun.id.desc()).limit(limit)
    if ids is not None:
        query = query.where(GateRun.id.in_(ids))
    return store.read(query, _gate_row)


def gate_cells(store: Store, gate_id: int) -> list[CellVerdict]:
    """The cells of a gate: confirmed losses and slower ones first, then by the size of their change."""
    order = case(
        (GateCell.confirmed & GateCell.verdict.is_(None), 0),
        (GateCell.confirmed & (GateCell.verdict == "slower"), 1),
        (GateCell.confirmed, 2),
        (GateCell.verdict == "same", 4),
        else_=3,
    )
    query = (
        select(*PROBLEM_COLUMNS, Cell.implementation, *columns_of(CellVerdict, GateCell))
        .join_from(GateCell, Cell, Cell.id == GateCell.cell_id)
        .join(Problem, Problem.id == Cell.problem_id)
        .where(GateCell.gate_run_id == gate_id)
        .order_by(order, GateCell.change.desc(), GateCell.cell_id)
    )
    return store.read(query, lambda *row: CellVerdict(*key_first(row)))


def gate_findings(store: Store, gate_id: int) -> list[CodeFinding]:
    """The findings on the machine code, the worst first."""
    query = select(*columns_of(CodeFinding, GateFinding)).where(GateFinding.gate_run_id == gate_id)
    return store.read(query.order_by(GateFinding.number), CodeFinding)


def gate_code(store: Store, gate_id: int) -> list[KernelCode]:
    """The machine code of the kernels that differ.

    Raises:
        DamagedValueError: a stored text cannot be unpacked.
    """
    query = select(*columns_of(KernelCode, GateCode)).where(GateCode.gate_run_id == gate_id)
    return store.read(query.order_by(GateCode.architecture, GateCode.kernel), _kernel_code)


def _kernel_code(kernel: str, architecture: str, base: bytes, head: bytes) -> KernelCode:
    return KernelCode(kernel, architecture, _text(base), _text(head))


def _text(packed: bytes) -> str:
    try:
        return zlib.decompressobj().decompress(packed, LARGEST_CODE_BYTES).decode()
    except (zlib.error, ValueError):
        raise DamagedValueError("machine code", packed) from None


_OWN = [name for name in field_names(GateRecord)]
_GATES: Select[Any] = select(
    *(getattr(GateRun, name) for name in _OWN), GateRun.id, Device.uuid, Device.model, Device.simulated
).outerjoin(Device, Device.id == GateRun.device_id)


def _gate_row(*row: Any) -> GateRow:  # noqa: ANN401
    values = dict(zip([*_OWN, "id", "device", "model", "simulated"], row, strict=True))
    values |= {"notes": tuple(values["notes"]), "simulated": bool(values["simulated"])}
    return GateRow(**values)
