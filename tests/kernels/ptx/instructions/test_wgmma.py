"""wgmma: matrices in shared memory and in registers, and each fence and wait around it left out once."""

from __future__ import annotations

import pytest
import torch

from tests.kernels.ptx.instructions.test_fragments import DTYPES, draw, place_a, word_bytes
from tests.kernels.ptx.small_kernels import run_small, seen

COLUMNS = 64
SUMS = ", ".join(f"%f{u}" for u in range(COLUMNS // 2))
WGMMA = """
  // x: descriptors of A and B without their addresses, then 16 KiB for A and for B
  ld.global.b64 %d1, [x_at];
  ld.global.b64 %d2, [x_at+8];
  mov.u32 %r1, dynamic;
  shr.u32 %r2, %r1, 4;
  cvt.u64.u32 %d3, %r2;
  add.s64 %d1, %d1, %d3;
  add.s64 %d2, %d2, %d3;
  add.s64 %d2, %d2, 1024;
  mov.u32 %r3, tid;
copy:
  mul.wide.u32 %d4, %r3, 16;
  add.s64 %d4, x_at, %d4;
  ld.global.v4.b32 {{%r4,%r5,%r6,%r7}}, [%d4+16];
  shl.b32 %r8, %r3, 4;
  add.u32 %r8, %r1, %r8;
  st.shared.v4.b32 [%r8], {{%r4,%r5,%r6,%r7}};
  add.u32 %r3, %r3, 128;
  setp.lt.u32 p, %r3, 2048;
  @p bra copy;
  fence.proxy.async.shared::cta;
  bar.sync 0;
  {load_a}
  {clear}
  wgmma.fence.sync.aligned;
  setp.ne.b32 p, {adds}, 0;
  wgmma.mma_async.sync.aligned.m64n64k{k}.f32.{types} {{{sums}}}, {a}, %d2, p, 1, 1{order};
  wgmma.commit_group.sync.aligned;
  wgmma.wait_group.sync.aligned 0;
  mul.wide.u32 %d5, tid, 128;
  add.s64 %d5, y_at, %d5;
  {stores}
"""
CLEAR = "\n  ".join(f"mov.f32 %f{u}, 0f3F800000;" for u in range(COLUMNS // 2))  # ones
STORES = "\n  ".join(f"st.global.f32 [%d5+{4 * u}], %f{u};" for u in range(COLUMNS // 2))
ATOM_BYTES = {128: 1024, 64: 512, 32: 256, 0: 128}
MODES = {0: 0, 128: 1, 64: 2, 32: 3}


def image_by_depth(matrix: torch.Tensor, span: int) -> tuple[torch.Tensor, int]:
    """Bytes of (rows, depth) with rows along K in groups of eight, and the descriptor without an address.

    Within a span of the swizzle, unit u of 16 bytes of row r goes to unit u ^ (r mod 8), ^ (r mod 8) / 2 or
    ^ (r mod 8) / 4. Without a swizzle, cores of eight rows of 16 bytes lie one after the other.
    """
    units = word_bytes(matrix).reshape(matrix.shape[0], -1, 16)
    image = torch.zeros(16384, dtype=torch.uint8)
    for row in range(units.shape[0]):
        for unit in range(units.shape[1]):
            group, inner = divmod(row, 8)
            if span:
                at = group * ATOM_BYTES[span] + inner * span + (unit ^ inner // (128 // span)) * 16
            else:
                at = group * 256 + unit * 128 + inner * 16
            image[at : at + 16] = units[row, unit]
    stride = ATOM_BYTES[span] if span else 256
    return image, (stride >> 4) << 32 | (128 >> 4) << 16 | MODES[span] << 62


def image_by_rows(matrix: torch.Tensor) -> tuple[torch.Tensor, int]:
    """The same with M or N contiguous in spans of 128 bytes, in 16 bits, swizzled along depth."""
    image = torch.zeros(16384, dtype=torch.uint8)
    columns = word_bytes(matrix.t()).reshape(matrix.shape[1], matrix.shape[0] // 8, 16)  # (depth, unit)
    for depth in range(columns.shape[0]):
        for unit in range(columns.shape[1]):
            chunk, inner = divmod(unit, 8)
            at = chunk * 4096 + depth // 8 * 1024 + depth % 8 * 128 + (inner ^ depth % 8) * 16
            image[at : at + 16] = columns[depth, unit]
    return image, (1024 >> 4) << 32 | (4096 >> 4) << 16 | MODES[128] << 62


def multiply_warpgroup(a, b, image_a, image_b, types, order, adds=1, fragments=False):
    """D of one wgmma, from A (64, K) and B (64, K) as images of shared memory."""
    found, sums = run_warpgroup(a, image_a, image_b, types, order, adds, fragments)
    assert found.faults == []
    return sums


def run_warpgroup(a, image_a, image_b, types, order, adds=1, fragments=False, change=("", "")):
    """What is found and D, with a change to the kernel's text."""
    header = torch.tensor([value - 2**64 if value >= 2**63 else value for value in (image_a[1], image_b[1])])
    x = torch.cat([header.view(torch.uint8), image_a[0], image_b[0]])
    y = torch.zeros((128, COLUMNS // 2))
    load_a, operand_a = "", "%d1"
    if fragments:
        loads = [f"ld.shared.b32 %r{20 + u}, [%r9+{4 * u}];" for u in range(4)]
        load_a = "\n  ".join(["shl.b32 %r9, tid, 4;", "add.u32 %r9, %r1, %r9;", *loads])
        operand_a = "{%r20,%r21,%r22,%r23}"
    body = WGMMA.format(
        clear=CLEAR,
        sums=SUMS,
        stores=STORES,
        k=32 // a.element_size(),
        types=types,
        order=order,
        adds=adds,
        load_a=load_a,
        a=operand_a,
    )
    assert change[0] in body
    found = run_small(body.replace(*change, 1), x, y, threads=128, dynamic_bytes=32768)
    sums = torch.zeros(64, COLUMNS)
    for thread in range(128):  # "Register Fragments: D"
        for i in range(COLUMNS // 2):
            row = 16 * (thread // 32) + thread % 32 // 4 + 8 * (i // 2 % 2)
            sums[row, 8 * (i // 4) + 2 * (thread % 4) + i % 2] = y[thread, i]
    return found, sums


def assert_product(sums, a, b, start=1.0):
    assert torch.equal(sums, (start + a.double() @ b.double().t()).float())


@pytest.mark.parametrize("span", [128, 64, 32, 0])
@pytest.mark.parametrize("name", ["f16", "bf16", "tf32", "e4m3", "e5m2"])
def test_wgmma_multiplies_operands_along_depth(name, span):
    depth = 32 // DTYPES[name].itemsize
    a, b = draw(64, depth, name), draw(COLUMNS, depth, name)
    order = ", 0, 0" if name in ("f16", "bf16") else ""
    images = image_by_depth(a, span), image_by_depth(b, span)
    assert_product(multiply_warpgroup(a, b, *images, f"{name}.{name}", order), a, b)


@pytest.mark.parametrize(("transposed_a", "transposed_b"), [(0, 1), (1, 0), (1, 1)])
def test_wgmma_multiplies_operands_along_rows(transposed_a, transposed_b):
    a, b = draw(64, 16, "bf16"), draw(COLUMNS, 16, "bf16")
    image_a = image_by_rows(a) if transposed_a else image_by_depth(a, 128)
    image_b = image_by_rows(b) if transposed_b else image_by_depth(b, 128)
    order = f", {transposed_a}, {transposed_b}"
    assert_product(multiply_warpgroup(a, b, image_a, image_b, "bf16.bf16", order), a, b)


def test_wgmma_mixes_the_formats_of_8_bits():
    a, b = draw(64, 32, "e4m3"), draw(COLUMNS, 32, "e5m2")
    images = image_by_depth(a, 128), image_by_depth(b, 128)
    assert_product(multiply_warpgroup(a, b, *images, "e4m3.e5m2", ""), a, b)


def test_wgmma_replaces_the_sums_where_its_predicate_is_false():
    a, b = draw(64, 16, "f16"), draw(COLUMNS, 16, "f16")
    images = image_by_depth(a, 128), image_by_depth(b, 128)
    assert_product(multiply_warpgroup(a, b, *images, "f16.f16", ", 0, 0", adds=0), a, b, start=0.0)


@pytest.mark.parametrize("name", ["f16", "tf32", "e4m3"])
def test_wgmma_takes_a_from_registers(name):
    depth = 32 // DTYPES[name].itemsize
    a, b = draw(64, depth, name), draw(COLUMNS, depth, name)
    bits = 8 * a.element_size()
    held = torch.zeros((128, 16), dtype=torch.uint8)
    for thread in range(128):
        of_warp = a[16 * (thread // 32) :]
        held[thread] = word_bytes(
            torch.stack([of_warp[place_a(thread % 32, i, bits)] for i in range(128 // bits)])
        )
    image = torch.zeros(16384, dtype=torch.uint8)
    image[:2048] = held.flatten()
    order = ", 0" if name == "f16" else ""
    sums = multiply_warpgroup(
        a, b, (image, 0), image_by_depth(b, 128), f"{name}.{name}", order, fragments=True
    )
    assert_product(sums, a, b)


FENCE, WAIT = "wgmma.fence.sync.aligned;", "wgmma.wait_group.sync.aligned 0;"
MISTAKES = {
    "no proxy fence": ("fence.proxy.async.shared::cta;", "", "wgmma reads a write without a proxy fence"),
    "no barrier": ("bar.sync 0;", "", "wgmma reads a write without a barrier"),
    "no fence of the registers": (FENCE, "", "registers written since the last wgmma.fence"),
    "a register written after the fence": (
        FENCE,
        f"{FENCE}\n  mov.f32 %f3, 0f00000000;",
        "since the last wgmma.fence",
    ),
    "no wait": (WAIT, "", "a register of a wgmma under way is touched"),
    "a wait for all but one": (WAIT, "wgmma.wait_group.sync.aligned 1;", "a register of a wgmma under way"),
    "no commit": ("wgmma.commit_group.sync.aligned;", "", "a register of a wgmma under way is touched"),
    "a write under the product": (
        WAIT,
        f"st.shared.b32 [%r1], tid;\n  {WAIT}",
        "write under an asynchronous read",
    ),
    "bytes never written": (
        "setp.lt.u32 p, %r3, 2048;",
        "setp.lt.u32 p, %r3, 1024;",
        "reads bytes never written",
    ),
    "out of bounds": ("add.s64 %d2, %d2, 1024;", "add.s64 %d2, %d2, 2048;", "wgmma reads out of bounds"),
    "descriptors that differ": (
        "setp.ne.b32 p",
        "cvt.u64.u32 %d9, lane;\n  add.s64 %d2, %d2, %d9;\n  setp.ne.b32 p",
        "descriptors differ in a warp",
    ),
    "a reserved bit": ("setp.ne.b32 p", "or.b64 %d2, %d2, 16384;\n  setp.ne.b32 p", "with reserved bits"),
    "a base offset": (
        "setp.ne.b32 p",
        "or.b64 %d2, %d2, 562949953421312;\n  setp.ne.b32 p",
        "with a base offset",
    ),
    "one lane alone": (
        "wgmma.mma_async",
        "setp.eq.u32 q, lane, 0;\n  @q wgmma.mma_async",
        "for some lanes only",
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_around_wgmma_is_found(mistake):
    source, planted, text = MISTAKES[mistake]
    a, b = draw(64, 16, "f16"), draw(COLUMNS, 16, "f16")
    images = image_by_depth(a, 128), image_by_depth(b, 128)
    found, _ = run_warpgroup(a, *images, "f16.f16", ", 0, 0", change=(source, planted))
    assert seen(found, text)


def test_a_register_of_a_is_left_alone_until_the_wait():
    a, b = draw(64, 16, "f16"), draw(COLUMNS, 16, "f16")
    image = torch.ones(16384, dtype=torch.uint8)
    change = (WAIT, f"mov.u32 %r20, 0;\n  {WAIT}")
    found, _ = run_warpgroup(a, (image, 0), image_by_depth(b, 128), "f16.f16", ", 0", 1, True, change)
    assert seen(found, "a register of a wgmma under way is touched")
