"""Each check of memory, planted once."""

from __future__ import annotations

import pytest
import torch

from tests.kernels.ptx.small_kernels import run_small, seen

SHARED = "mov.u32 %r1, dynamic;\n  shl.b32 %r2, tid, 2;\n  add.u32 %r3, %r1, %r2;\n  "


def global_access(statement: str, x=None, y=None):
    x = torch.arange(64, dtype=torch.int32) if x is None else x
    y = torch.zeros(64, dtype=torch.int32) if y is None else y
    lane = "mul.wide.u32 %d1, tid, 4;\n  add.s64 %d2, x_at, %d1;\n  add.s64 %d3, y_at, %d1;\n  "
    return run_small(lane + statement, x, y)


GLOBAL = {
    "ld.global.b32 %r1, [%d2+256];": "global read out of bounds",
    "ld.global.b32 %r1, [%d2+-4];": "global read out of bounds",
    "ld.global.b32 %r1, [%d2+2];": "misaligned global read",
    "ld.global.v4.b32 {%r1,%r2,%r3,%r4}, [%d2];": "misaligned global read",
    "ld.global.b32 %r1, [%d3];": "global read of an output",
    "st.global.b32 [%d3+256], tid;": "global write out of bounds",
    "st.global.b32 [%d3+1], tid;": "misaligned global write",
    "st.global.b32 [%d2], tid;": "global write to an input",
    "st.global.b32 [y_at], tid;": "global byte written twice",
}


@pytest.mark.parametrize("statement", GLOBAL)
def test_a_stray_global_access_is_found(statement):
    found = global_access(statement)
    assert seen(found, GLOBAL[statement])
    assert f"[{statement[:-1]}]" in found.faults[0]


def test_right_global_accesses_pass_and_move_the_bytes():
    x, y = torch.arange(64, dtype=torch.int32), torch.zeros(64, dtype=torch.int32)
    found = global_access("ld.global.b32 %r1, [%d2+128];\n  st.global.b32 [%d3], %r1;", x, y)
    assert found.faults == []
    assert torch.equal(y[:32], x[32:])


SHARED_FAULTS = {
    "ld.shared.b32 %r4, [%r3+1024];": "shared read out of bounds",
    "st.shared.b32 [%r3+-4], tid;": "shared write out of bounds",
    "st.shared.b32 [%r3+2], tid;": "misaligned shared write",
    "ld.shared.b32 %r4, [%r3];": "shared read of bytes never written",
    "ldmatrix.sync.aligned.m8n8.x1.shared.b16 {%r4}, [%r1];": "shared read of bytes never written",
    "st.shared.b32 [%r1], tid;": "write after write without a barrier",
    "st.shared.b32 [%r3], tid;\n  ld.shared.b32 %r4, [%r1];": "read after write without a barrier",
    "st.shared.b32 [%r3], tid;\n  bar.sync 0;\n  ld.shared.b32 %r4, [%r1];\n  st.shared.b32 [%r3], tid;": (
        "write after read without a barrier"
    ),
}


@pytest.mark.parametrize("threads", [32, 128])
@pytest.mark.parametrize("statements", SHARED_FAULTS)
def test_a_stray_shared_access_is_found(statements, threads):
    assert seen(
        run_small(SHARED + statements, threads=threads, dynamic_bytes=1024), SHARED_FAULTS[statements]
    )


def test_ordered_shared_accesses_pass():
    ordered = (
        "st.shared.b32 [%r3], tid;\n  bar.sync 0;\n  xor.b32 %r5, %r2, 64;\n  add.u32 %r5, %r1, %r5;\n"
        "  ld.shared.b32 %r4, [%r5];\n  bar.sync 0;\n  st.shared.b32 [%r5], tid;"
    )
    assert run_small(SHARED + ordered, threads=128, dynamic_bytes=1024).faults == []


def test_a_warp_synchronises_its_own_lanes_only():
    exchange = (
        "st.shared.b32 [%r3], tid;\n  bar.warp.sync -1;\n  xor.b32 %r5, %r2, {};\n  add.u32 %r5, %r1, %r5;\n"
        "  ld.shared.b32 %r4, [%r5];"
    )
    assert run_small(SHARED + exchange.format(64), threads=128, dynamic_bytes=1024).faults == []
    across = run_small(SHARED + exchange.format(128), threads=128, dynamic_bytes=1024)
    assert seen(across, "read after write without a barrier")


def test_halves_of_a_word_may_belong_to_different_threads():
    halves = (
        "shl.b32 %r2, tid, 1;\n  add.u32 %r3, %r1, %r2;\n  cvt.u16.u32 %h1, tid;\n  st.shared.b16 [%r3], %h1;"
    )
    assert run_small(SHARED + halves, threads=128, dynamic_bytes=1024).faults == []


def test_generic_addresses_lead_to_their_state_space():
    generic = (
        "cvt.u64.u32 %d1, %r3;\n  cvta.shared.u64 %d1, %d1;\n  st.b32 [%d1], tid;\n  ld.b32 %r4, [%d1];\n"
        "  mul.wide.u32 %d2, tid, 4;\n  add.s64 %d2, y_at, %d2;\n  st.b32 [%d2], %r4;"
    )
    y = torch.zeros(32, dtype=torch.int32)
    assert run_small(SHARED + generic, y=y, dynamic_bytes=1024).faults == []
    assert y.tolist() == list(range(32))


def test_signed_loads_extend_the_sign():
    x = torch.full((4,), -3, dtype=torch.int8)
    y = torch.zeros(2, dtype=torch.int32)
    first = "setp.eq.u32 p, tid, 0;\n  @p ld.global.s8 %r1, [x_at];\n  @p ld.global.u8 %r2, [x_at];\n"
    assert run_small(first + "  @p st.global.v2.b32 [y_at], {%r1,%r2};", x, y).faults == []
    assert y.tolist() == [-3, 253]


# ---- cp.async ------------------------------------------------------------------------------------

COPY = """mov.u32 %r1, dynamic;
  shl.b32 %r2, tid, 4;
  add.u32 %r3, %r1, %r2;
  mul.wide.u32 %d1, tid, 16;
  add.s64 %d1, x_at, %d1;
  cp.async.cg.shared.global [%r3], [%d1], 16{size};
  cp.async.commit_group;
  {wait}
  {barrier}
  xor.b32 %r2, %r2, 16;
  add.u32 %r3, %r1, %r2;
  ld.shared.v4.b32 {{%r4,%r5,%r6,%r7}}, [%r3];
  mul.wide.u32 %d2, tid, 16;
  add.s64 %d2, y_at, %d2;
  st.global.v4.b32 [%d2], {{%r4,%r5,%r6,%r7}};"""


def copy(wait="cp.async.wait_group 0;", barrier="bar.sync 0;", size="", x_elements=128):
    x, y = torch.arange(x_elements, dtype=torch.int32), torch.zeros(128, dtype=torch.int32)
    return run_small(COPY.format(wait=wait, barrier=barrier, size=size), x, y, dynamic_bytes=512), x, y


def test_a_copy_lands_at_its_wait():
    found, x, y = copy()
    assert found.faults == []
    assert torch.equal(y.reshape(16, 2, 4).flip(1).flatten(), x)


def test_a_copy_of_fewer_bytes_is_filled_with_zeros():
    found, x, y = copy(size=", 8")
    assert found.faults == []
    assert y.reshape(32, 4)[:, 2:].unique().tolist() == [0]


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"wait": ""}, "shared read of a copy under way"),
        ({"wait": "cp.async.wait_group 1;"}, "shared read of a copy under way"),
        ({"wait": ""}, "a thread ends with asynchronous copies under way"),
        ({"barrier": ""}, "read after write without a barrier"),
        ({"size": ", 32"}, "cp.async reads more than it writes"),
        ({"x_elements": 124}, "global read out of bounds"),
    ],
)
def test_a_mistake_with_a_copy_is_found(change, text):
    assert seen(copy(**change)[0], text)


def test_a_copy_over_what_is_read_needs_a_barrier():
    body = COPY.format(wait="cp.async.wait_all;", barrier="bar.sync 0;", size="")
    again = body + "\n  cp.async.cg.shared.global [%r3], [%d1], 16;\n  cp.async.wait_all;"
    x, y = torch.arange(128, dtype=torch.int32), torch.zeros(128, dtype=torch.int32)
    assert run_small(again, x, y, dynamic_bytes=512).faults == []  # each lane overwrites what it read itself
    stolen = again.replace("\n  cp.async.cg.shared.global [%r3], [%d1], 16;\n  cp.async.wait_all;",
                           "\n  xor.b32 %r2, %r2, 16;\n  add.u32 %r3, %r1, %r2;\n"
                           "  cp.async.cg.shared.global [%r3], [%d1], 16;\n  cp.async.wait_all;")  # fmt: skip
    assert seen(run_small(stolen, x, y, dynamic_bytes=512), "write after read without a barrier")
