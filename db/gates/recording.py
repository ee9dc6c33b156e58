"""Writes of gates: each in one transaction, with its cells, findings and machine code."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import asdict, fields, replace

from sqlalchemy import select
from sqlalchemy.orm import Session

from kswatch.db.backend.bulk_insert import insert_rows
from kswatch.db.gates.records import CellVerdict, CodeFinding, GateRecord, KernelCode
from kswatch.db.schema.tables import Device, GateCell, GateCode, GateFinding, GateRun
from kswatch.db.store import Store

LONGEST_REASON = 2_000
LARGEST_CODE_BYTES = 1_000_000
"""Of one kernel's disassembly; a longer one is not stored."""


def record_gate(
    store: Store,
    gate: GateRecord,
    cells: Sequence[CellVerdict] = (),
    *,
    device: str = "",
    findings: Sequence[CodeFinding] = (),
    codes: Sequence[KernelCode] = (),
) -> int:
    """Record a gate and return its id.

    Args:
        store: To record in.
        gate: The comparison.
        cells: Each as it was judged.
        device: UUID of the device that measured; empty for none.
        findings: Of the machine code, the worst first.
        codes: Of kernels that differ.
    """
    with store.writing() as session:
        gate_id = _insert(session, gate, device)
        keys = [(one.problem, one.implementation) for one in cells]
        ids = store.identifiers.cell_ids(session.connection(), keys) if keys else []
        rows = [
            {name: getattr(one, name) for name in _JUDGED}
            | {"gate_run_id": gate_id, "cell_id": cell_id, "reason": _shortened(one.reason)}
            for cell_id, one in zip(ids, cells, strict=True)
        ]
        insert_rows(session, GateCell, rows, replace=True)
        found = [
            {"gate_run_id": gate_id, "number": number} | asdict(one) for number, one in enumerate(findings)
        ]
        insert_rows(session, GateFinding, found, replace=True)
        insert_rows(session, GateCode, [_code_row(gate_id, one) for one in codes if _fits(one)], replace=True)
    return gate_id


def _insert(session: Session, gate: GateRecord, device: str) -> int:
    device_id = session.scalars(select(Device.id).where(Device.uuid == device)).one_or_none()
    values = asdict(replace(gate, reason=_shortened(gate.reason))) | {"notes": list(gate.notes)}
    row = GateRun(device_id=device_id, **values)
    session.add(row)
    session.flush()
    return row.id


def _shortened(text: str | None) -> str | None:
    return text if text is None or len(text) <= LONGEST_REASON else text[: LONGEST_REASON - 3] + "..."


def _fits(code: KernelCode) -> bool:
    return max(len(code.base_code), len(code.head_code)) <= LARGEST_CODE_BYTES


def _code_row(gate_id: int, code: KernelCode) -> dict[str, object]:
    packed = {name: zlib.compress(getattr(code, name).encode()) for name in ("base_code", "head_code")}
    return {"gate_run_id": gate_id, "kernel": code.kernel, "architecture": code.architecture} | packed


_JUDGED = [one.name for one in fields(CellVerdict) if one.name not in ("problem", "implementation")]
