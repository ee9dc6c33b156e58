"""Where the lanes of a warp hold matrices: random matrices, placed as the manual describes."""

from __future__ import annotations

import pytest
import torch

from tests.kernels.ptx.interpreter import Options
from tests.kernels.ptx.small_kernels import run_small

GENERATOR = torch.Generator().manual_seed(7)
DTYPES = {
    "f16": torch.float16, "bf16": torch.bfloat16, "tf32": torch.float32,
    "e4m3": torch.float8_e4m3fn, "e5m2": torch.float8_e5m2,
}  # fmt: skip


def draw(rows: int, columns: int, name: str) -> torch.Tensor:
    """Numbers of a format; tf32 has ten bits after the point."""
    values = torch.randn(rows, columns, generator=GENERATOR)
    return (values * 64).round() / 64 if name == "tf32" else values.to(DTYPES[name])


def word_bytes(matrix: torch.Tensor) -> torch.Tensor:
    return matrix.contiguous().view(torch.uint8)


# "Matrix Fragments for mma": (row, column) of element i of a lane, by bits of an element.
def place_a(lane: int, i: int, bits: int) -> tuple[int, int]:
    group, thread = lane >> 2, lane % 4
    if bits == 32:
        return (group, group + 8, group, group + 8)[i], (thread, thread, thread + 4, thread + 4)[i]
    if bits == 16:
        row = group if 0 <= i < 2 or 4 <= i < 6 else group + 8
        return row, thread * 2 + (i & 1) + (8 if i >= 4 else 0)
    row = group if 0 <= i < 4 or 8 <= i < 12 else group + 8
    return row, thread * 4 + (i & 3) + (16 if i >= 8 else 0)


def place_b(lane: int, i: int, bits: int) -> tuple[int, int]:
    group, thread = lane >> 2, lane % 4
    if bits == 32:
        return thread + 4 * i, group
    if bits == 16:
        return thread * 2 + (i & 1) + (8 if i >= 2 else 0), group
    return thread * 4 + (i & 3) + (16 if i >= 4 else 0), group


def place_sum(lane: int, i: int) -> tuple[int, int]:
    return (lane >> 2) + (0 if i < 2 else 8), (lane % 4) * 2 + (i & 1)


PRODUCTS = {
    "m16n8k16 f16 f16": 16, "m16n8k16 bf16 bf16": 16, "m16n8k8 tf32 tf32": 8,
    "m16n8k32 e4m3 e4m3": 32, "m16n8k32 e5m2 e5m2": 32, "m16n8k32 e4m3 e5m2": 32,
}  # fmt: skip

MMA = """
  mul.wide.u32 %d1, tid, 40;
  add.s64 %d1, x_at, %d1;
  ld.global.b32 %r1, [%d1];
  ld.global.b32 %r2, [%d1+4];
  ld.global.b32 %r3, [%d1+8];
  ld.global.b32 %r4, [%d1+12];
  ld.global.b32 %r5, [%d1+16];
  ld.global.b32 %r6, [%d1+20];
  ld.global.f32 %f1, [%d1+24];
  ld.global.f32 %f2, [%d1+28];
  ld.global.f32 %f3, [%d1+32];
  ld.global.f32 %f4, [%d1+36];
  mma.sync.aligned.{shape}.row.col.f32.{a}.{b}.f32 {{%f5,%f6,%f7,%f8}}, {{%r1,%r2,%r3,%r4}}, {{%r5,%r6}},
    {{%f1,%f2,%f3,%f4}};
  mul.wide.u32 %d2, tid, 16;
  add.s64 %d2, y_at, %d2;
  st.global.v4.f32 [%d2], {{%f5,%f6,%f7,%f8}};
"""


@pytest.mark.parametrize("product", PRODUCTS)
def test_mma_multiplies_fragments(product):
    shape, name_a, name_b = product.split()
    depth = PRODUCTS[product]
    a, b, c = draw(16, depth, name_a), draw(depth, 8, name_b), torch.randn(16, 8, generator=GENERATOR)
    bits = 8 * a.element_size()
    x = torch.zeros((32, 40), dtype=torch.uint8)
    for lane in range(32):
        held = [a[place_a(lane, i, bits)] for i in range(128 // bits)]
        x[lane, :16] = word_bytes(torch.stack(held))
        x[lane, 16:24] = word_bytes(torch.stack([b[place_b(lane, i, bits)] for i in range(64 // bits)]))
        x[lane, 24:] = word_bytes(torch.stack([c[place_sum(lane, i)] for i in range(4)]))
    y = torch.zeros((32, 4))
    assert run_small(MMA.format(shape=shape, a=name_a, b=name_b), x, y).faults == []
    truth = c.double() + a.double() @ b.double()
    for lane in range(32):
        assert y[lane].tolist() == [float(truth[place_sum(lane, i)].float()) for i in range(4)]


def test_sums_are_rounded_once_or_cut_at_24_bits():
    x = torch.zeros((32, 40), dtype=torch.uint8)
    x[:, :24] = torch.full((32, 6), 0x3C003C00, dtype=torch.int32).view(torch.uint8)  # ones
    x[:, 24:] = torch.full((32, 4), 2.0**24 - 1).view(torch.uint8)
    y = torch.zeros((32, 4))
    body = MMA.format(shape="m16n8k16", a="f16", b="f16")
    run_small(body, x, y)
    assert set(y.flatten().tolist()) == {2.0**24 + 16}  # 2^24 + 15 is halfway, and goes to even
    run_small(body, x, y, options=Options(truncating=True))
    # Four ones lead to 2^24 + 3, cut to 2^24 + 2; later ones lie under the last unit of 2 of such a sum.
    assert set(y.flatten().tolist()) == {2.0**24 + 2}


# ---- ldmatrix, stmatrix --------------------------------------------------------------------------

MATRICES = """
  mul.wide.u32 %d1, tid, 16;
  add.s64 %d1, x_at, %d1;
  ld.global.v4.b32 {{%r1,%r2,%r3,%r4}}, [%d1];
  mov.u32 %r10, dynamic;
  shl.b32 %r11, tid, 4;
  add.u32 %r10, %r10, %r11;
  {transfer}
  mul.wide.u32 %d2, tid, 16;
  add.s64 %d2, y_at, %d2;
  st.global.v4.b32 [%d2], {{%r5,%r6,%r7,%r8}};
"""
LOAD = """st.shared.v4.b32 [%r10], {{%r1,%r2,%r3,%r4}};
  bar.warp.sync -1;
  ldmatrix.sync.aligned.m8n8.x4{trans}.shared.b16 {{%r5,%r6,%r7,%r8}}, [%r10];"""
STORE = """stmatrix.sync.aligned.m8n8.x4{trans}.shared.b16 [%r10], {{%r1,%r2,%r3,%r4}};
  bar.warp.sync -1;
  ld.shared.v4.b32 {{%r5,%r6,%r7,%r8}}, [%r10];"""


@pytest.mark.parametrize("trans", ["", ".trans"])
def test_ldmatrix_gives_each_lane_two_neighbours_of_a_row_or_a_column(trans):
    rows = torch.arange(32 * 8, dtype=torch.int16).reshape(32, 8)  # row r of matrix q is rows[8q + r]
    y = torch.zeros((32, 8), dtype=torch.int16)
    body = MATRICES.format(transfer=LOAD.format(trans=trans))
    assert run_small(body, rows, y, dynamic_bytes=512).faults == []
    for lane in range(32):
        for matrix in range(4):
            whole = rows[8 * matrix : 8 * matrix + 8]
            line = whole[:, lane // 4] if trans else whole[lane // 4]
            assert y[lane, 2 * matrix : 2 * matrix + 2].tolist() == line[2 * (lane % 4) :][:2].tolist()


@pytest.mark.parametrize("trans", ["", ".trans"])
def test_stmatrix_is_the_reverse_of_ldmatrix(trans):
    held = torch.arange(32 * 8, dtype=torch.int16).reshape(32, 8)
    stored, loaded = torch.zeros_like(held), torch.zeros_like(held)
    assert (
        run_small(MATRICES.format(transfer=STORE.format(trans=trans)), held, stored, dynamic_bytes=512).faults
        == []
    )
    assert (
        run_small(
            MATRICES.format(transfer=LOAD.format(trans=trans)), stored, loaded, dynamic_bytes=512
        ).faults
        == []
    )
    assert torch.equal(loaded, held)
