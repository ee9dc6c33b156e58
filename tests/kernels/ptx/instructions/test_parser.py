"""What is not known is an error that names it."""

from __future__ import annotations

import pytest

from tests.kernels.ptx.interpreter import Program, ProgramError
from tests.kernels.ptx.small_kernels import run_small


@pytest.mark.parametrize(
    "statement",
    [
        "frobnicate.b32 %r1, %r2;",
        "add.sat.s32 %r1, %r2, %r3;",
        "ld.volatile.global.b32 %r1, [x_at];",
        "mma.sync.aligned.m8n8k4.row.col.f32.f16.f16.f32 {%f1}, {%r1}, {%r2}, {%f1};",
        "mbarrier.init.shared::cta.b32 [%r1], 1;",
        "cp.async.bulk.tensor.6d.global.shared::cta.bulk_group [map_at, {%r1}], [%r1];",
        "setmaxnreg.inc.sync.aligned.u32 100;",
        "cp.async.cg.shared.global [%r1], [x_at], 8;",
    ],
)
def test_an_unknown_opcode_is_named_with_its_line_and_kernel(statement):
    with pytest.raises(ProgramError) as error:
        run_small(f"mov.u32 %r1, 0;\n  {statement}")
    message = str(error.value)
    assert statement.split()[0] in message
    assert "line 32:" in message
    assert "kernel small" in message


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("mov.u32 %r1, %clock_of_the_hall;", "unknown special register %clock_of_the_hall"),
        ("bra nowhere;", "no label nowhere"),
        ("add.s32 %r1, %d1, %r2;", "operand of 64 bits"),
        (".local .b8 stack[8];", "unknown directive in a body"),
        ("@%r1 mov.u32 %r1, 0;", "guard is no predicate"),
        ("mov.b128 %r1, %r2;", "mov.b128"),
        ("again: mov.u32 %r1, 0; again: mov.u32 %r1, 0;", "label declared twice: again"),
    ],
)
def test_a_mistake_in_a_body_is_named(text, reason):
    with pytest.raises(ProgramError, match=reason):
        run_small(text)


def test_a_directive_outside_a_body_is_named():
    with pytest.raises(ProgramError, match="line 2: unknown directive .weak .func"):
        Program(".version 9.0\n.weak .func f() {\n}\n")


def test_a_launch_is_checked_against_the_kernel():
    body = "mov.u32 %r1, 0;"
    assert "blocks; the kernel requires 2" not in str(run_small(body, cluster=2).faults)
    assert "no whole number of clusters" in run_small(body, cluster=2, grid=3).faults[0]


def test_parameters_of_another_size_are_found():
    text = ".version 9.0\n.target sm_90\n.address_size 64\n.visible .entry k(\n.param .u64 a\n)\n{\nret;\n}\n"
    found = Program(text).launch("k", 1, 32, 0, bytes(12), [])
    assert "packs 12 bytes of parameters; the kernel takes 8" in found.faults[0]


def test_parameters_are_laid_out_by_their_alignment():
    text = (
        ".version 9.0\n.target sm_90\n.address_size 64\n.visible .entry k(\n.param .u32 a,\n.param .u64 b,\n"
        ".param .align 16 .b8 c[24]\n)\n{\nret;\n}\n"
    )
    assert Program(text).launch("k", 1, 32, 0, bytes(40), []).faults == []  # 0, 8, 16
