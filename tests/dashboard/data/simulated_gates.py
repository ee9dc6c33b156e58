"""Gates of planted truth: one that regressed, its static gate, one that does not build; and a run's file."""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import update

from kswatch.db.artifacts.stored import add_artifact
from kswatch.db.gates.recording import record_gate
from kswatch.db.gates.records import CellVerdict, CodeFinding, GateRecord, KernelCode
from kswatch.db.queries.basic import devices, runs
from kswatch.db.records import ProblemKey
from kswatch.db.schema.tables import Artifact
from kswatch.db.store import Store
from tests.dashboard.simulated_store import FIRST_NIGHT, NASTY

BASE, HEAD = "a" * 40, "b" * 40
PROBLEMS = [ProblemKey(a, 64, 64, 1, 1024, "fp32", "batch_first") for a in range(1, 7)]
COMMON = {"base_commit": BASE, "head_commit": HEAD, "branch": "faster-epilogue", "author": "ann"}


def fill_gates(store: Store) -> None:
    """Record the gates; people's and git's texts hold markup."""
    about = {"subject": f"Unroll {NASTY}", "host": "gpu-host", "started_at": FIRST_NIGHT}
    static = GateRecord(kind="static", seconds=12.0, outcome="compiled", exit_code=1, **COMMON, **about)
    code = "\n".join(f"IMAD R{number}, R2, R3, R4" for number in range(400))
    findings = [
        CodeFinding("over_budget", "fp32 128x64", "sm_90", "registers", "at most 168", "200"),
        CodeFinding("regressed", "fp32 128x64", "sm_90", "spill_bytes", "0", "8"),
        CodeFinding("changed", "fp16 64x64", "sm_80", "instructions", "812", "790"),
    ]
    codes = [KernelCode("fp32 128x64", "sm_90", code, code.replace("R200,", "R201,") + "\nSTL [R1], R0")]
    record_gate(store, static, findings=findings, codes=codes)
    newest = runs(store)[0].id
    measured = GateRecord(
        kind="measured",
        seconds=184.0,
        outcome="measured",
        exit_code=1,
        base_run_id=newest,
        head_run_id=newest,
        notes=(f"the clock is not locked {NASTY}",),
        **COMMON,
        **about,
    )
    record_gate(store, measured, [_cell(number) for number in range(6)], device=devices(store)[0].uuid)
    broken = GateRecord(
        kind="measured",
        started_at=FIRST_NIGHT + timedelta(hours=3),
        seconds=None,
        base_commit=BASE,
        head_commit="c" * 40,
        outcome="broken",
        exit_code=3,
        branch="does-not-build",
        author=f"bob {NASTY}",
        reason=f"head: it does not compile\nerror: {NASTY}",
    )
    record_gate(store, broken, device=devices(store)[0].uuid)
    add_artifact(store, newest, "ncu", "report.ncu-rep", b"report")
    with store.writing() as session:  # a name that kswatch itself refuses
        session.execute(update(Artifact).values(name=f"run {NASTY}.ncu-rep"))


def _cell(number: int) -> CellVerdict:
    verdicts = ["same", "slower", "faster", "ambiguous", None, "same"]
    changes = [0.001, 0.083, -0.12, 0.031, None, -0.004]
    verdict, change = verdicts[number], changes[number]
    return CellVerdict(
        problem=PROBLEMS[number],
        implementation="fused",
        verdict=verdict,
        confirmed=number in (1, 2, 4),
        change=change,
        change_low=None if change is None else change - 0.008,
        change_high=None if change is None else change + 0.008,
        p_value=None if change is None else 0.01,
        base_ms=0.5,
        head_ms=None if change is None else 0.5 * (1 + change),
        base_status="ok",
        head_status="crashed" if change is None else "ok",
        reason=f"lost {NASTY}" if change is None else None,
        pairs=5,
        rounds=60,
    )
