from __future__ import annotations

import json

from kswatch.ci.gate.static import judge_code
from kswatch.ci.gate.static_report import (
    static_annotations,
    static_junit,
    static_markdown,
    static_rows,
    static_text,
)
from kswatch.db.compiled_code.resources import CodeFault, Figures, record_resources
from kswatch.db.json_text import to_json_text
from kswatch.db.queries.compiled_code import ResourceRow, resources
from tests.ci.formats.junit_schema import assert_junit
from tests.ci.gate.gate_sessions import BASE, HEAD


def row(kernel: str = "fp16 128x128", architecture: str = "sm_90", **changes) -> ResourceRow:
    values = {
        "code_hash": "c" * 64,
        "family": "tensor_cores",
        "compiler": "nvcc 13.5",
        "registers": 128,
        "spill_bytes": 0,
        "shared_bytes": 4096,
        "instructions": {"HMMA": 64, "LDSM": 16},
    }
    return ResourceRow(kernel=kernel, architecture=architecture, **(values | changes))


def figures(*rows: ResourceRow, faults: tuple[CodeFault, ...] = ()) -> Figures:
    return Figures(rows, faults)


FAULT = CodeFault("fp16 128x128", "sm_90", "registers", "at most 168", "255")


def test_the_same_code_within_its_budget_is_fine():
    result = judge_code((HEAD, figures(row())), (BASE, figures(row())))
    assert result.exit_code == 0 and result.changes == ()
    assert "within its budget; 1 kernels on sm_90, 0 figures changed" in static_text(result)


def test_a_kernel_over_its_budget_fails_in_every_format():
    result = judge_code((HEAD, figures(row(registers=255), faults=(FAULT,))), None)
    assert result.exit_code == 1
    assert "over budget: sm_90 fp16 128x128: registers 255, allowed at most 168" in static_text(result)
    assert_junit(static_junit(result), tests=1, failures=1)
    assert static_annotations(result).startswith("::error title=kswatch gate --static::sm_90")
    assert "**over budget**" in static_markdown(result)
    (rows_found,) = json.loads(to_json_text(static_rows(result)))
    assert rows_found["faults"] == [{"what": "registers", "allowed": "at most 168", "found": "255"}]


def test_new_spills_fail_and_other_changes_are_reported():
    before = figures(row(), row(kernel="gone"))
    after = figures(row(spill_bytes=8, registers=120, instructions={"HMMA": 64}), row(kernel="new"))
    result = judge_code((HEAD, after), (BASE, before))
    assert [one.figure for one in result.regressions] == ["spill_bytes"] and result.exit_code == 1
    assert {(one.kernel, one.figure) for one in result.changes} == {
        ("fp16 128x128", "spill_bytes"),
        ("fp16 128x128", "registers"),
        ("fp16 128x128", "instructions"),
        ("gone", "kernel"),
        ("new", "kernel"),
    }
    assert judge_code((HEAD, figures(row(registers=168))), (BASE, figures(row()))).exit_code == 0


def test_figures_of_another_compiler_and_of_an_older_base_are_not_compared():
    other = judge_code((HEAD, figures(row())), (BASE, figures(row(compiler="nvcc 12.0", registers=1))))
    older = judge_code((HEAD, figures(row())), (BASE, None))
    assert other.changes == older.changes == ()
    assert "different compilers" in static_text(other) and "is older" in static_text(older)


def test_rows_are_recorded_once(store):
    record_resources(store, [row(), row(architecture="sm_80")])
    record_resources(store, [row()])
    assert {one.architecture for one in resources(store, ["c" * 64])} == {"sm_80", "sm_90"}
