"""Rounding against torch, over all numbers of a format and over numbers between them."""

from __future__ import annotations

import pytest
import torch

from tests.kernels.ptx.small_kernels import evaluate, run_small

CONVERT = """
  mul.wide.u32 %d1, tid, {in_bytes};
  add.s64 %d1, x_at, %d1;
  mul.wide.u32 %d2, tid, {out_bytes};
  add.s64 %d2, y_at, %d2;
  mov.u32 %r2, 0;
again:
  ld.global.b{in_bits} {source}, [%d1];
  {instruction}
  st.global.b{out_bits} [%d2], {target};
  add.s64 %d1, %d1, {in_step};
  add.s64 %d2, %d2, {out_step};
  add.s32 %r2, %r2, 1024;
  setp.lt.u32 p, %r2, {count};
  @p bra again;
"""
REGISTERS = {16: "%h", 32: "%r"}


def converted(instruction: str, x: torch.Tensor, out: torch.dtype) -> torch.Tensor:
    """The instruction applied to all elements; their number is a multiple of 1,024."""
    y = torch.zeros(x.numel(), dtype=out)
    in_bytes, out_bytes = x.element_size(), y.element_size()
    source, target = f"{REGISTERS[8 * in_bytes]}20", f"{REGISTERS[8 * out_bytes]}21"
    body = CONVERT.format(
        in_bytes=in_bytes,
        out_bytes=out_bytes,
        in_bits=8 * in_bytes,
        out_bits=8 * out_bytes,
        source=source,
        target=target,
        in_step=1024 * in_bytes,
        out_step=1024 * out_bytes,
        count=x.numel(),
        instruction=instruction.format(target=target, source=source),
    )
    assert run_small(body, x, y, threads=1024).faults == []
    return y


def between(dtype: torch.dtype) -> torch.Tensor:
    """Floats around every number of a 16-bit format, halfway points and their neighbours included."""
    values = torch.arange(2**16, dtype=torch.int32).to(torch.int16).view(dtype).float()
    values = values[values.isfinite()]
    halfway = (values[:-1].double() + values[1:].double()).div(2).float()
    around = [values, halfway, torch.nextafter(halfway, halfway + 1), torch.nextafter(halfway, halfway - 1)]
    special = torch.tensor([float("inf"), -float("inf"), 3e38, -3e38, 65519.996, 65520.0, 1e-45, 0.0, -0.0])
    every = torch.cat([*around, special])
    return torch.cat([every, torch.zeros(-every.numel() % 1024)])


@pytest.mark.parametrize(("name", "dtype"), [("f16", torch.float16), ("bf16", torch.bfloat16)])
def test_rounding_to_16_bits_is_that_of_torch(name, dtype):
    x = between(dtype)
    assert torch.equal(
        converted(f"cvt.rn.{name}.f32 {{target}}, {{source}};", x, torch.int16), x.to(dtype).view(torch.int16)
    )


@pytest.mark.parametrize(("name", "dtype"), [("f16", torch.float16), ("bf16", torch.bfloat16)])
def test_widening_16_bits_is_exact(name, dtype):
    bits = torch.arange(2**16, dtype=torch.int32).to(torch.int16)
    truth = bits.view(dtype).float()
    widened = converted(f"cvt.f32.{name} {{target}}, {{source}};", bits, torch.float32)
    assert torch.equal(widened.nan_to_num(7.0), truth.nan_to_num(7.0))
    assert torch.equal(widened.isnan(), truth.isnan())


def test_tf32_rounds_half_away_from_zero():
    x = torch.randn(4096, generator=torch.Generator().manual_seed(1))
    x[:3] = torch.tensor([1 + 2**-11, -1 - 2**-11, 1 + 2**-11 - 2**-23])
    rounded = converted("cvt.rna.tf32.f32 {target}, {source};", x, torch.float32)
    _, exponent = torch.frexp(x.double())
    unit = torch.ldexp(torch.ones(4096, dtype=torch.float64), exponent - 11)
    truth = torch.sign(x.double()) * torch.floor(x.double().abs() / unit + 0.5) * unit
    assert torch.equal(rounded.double(), truth)
    assert rounded[:3].tolist() == [1 + 2**-10, -1 - 2**-10, 1.0]


@pytest.mark.parametrize(("name", "dtype"), [("e4m3", torch.float8_e4m3fn), ("e5m2", torch.float8_e5m2)])
def test_rounding_to_8_bits_is_that_of_torch_within_its_range(name, dtype):
    greatest = torch.finfo(dtype).max
    x = between(torch.float16)
    x = x[x.abs() <= greatest]
    x = torch.cat([x, torch.zeros(-x.numel() % 1024)])
    pairs = converted_pairs(f"cvt.rn.satfinite.{name}x2.f32", x)
    assert torch.equal(pairs, x.to(dtype).view(torch.uint8))
    beyond = converted_pairs(f"cvt.rn.satfinite.{name}x2.f32", torch.full((1024,), 1e30))
    assert set(beyond.view(dtype).float().tolist()) == {greatest}


def converted_pairs(opcode: str, x: torch.Tensor) -> torch.Tensor:
    """Each number in the low byte, then in the high byte of a pair."""
    zero = "mov.b32 %r22, 0;\n  "
    low = converted(f"{zero}{opcode} {{target}}, %r22, {{source}};", x, torch.int16)
    high = converted(f"{zero}{opcode} {{target}}, {{source}}, %r22;", x, torch.int16)
    low, high = low.to(torch.int32) & 0xFF, high.to(torch.int32) >> 8 & 0xFF
    assert torch.equal(low, high)
    return low.to(torch.uint8)


def test_fp8_widens_as_in_torch():
    bits = torch.arange(1024, dtype=torch.int32).to(torch.int16) & 0xFF
    for name, dtype in (("e4m3", torch.float8_e4m3fn), ("e5m2", torch.float8_e5m2)):
        halves = converted(f"cvt.rn.f16x2.{name}x2 {{target}}, {{source}};", bits, torch.int32)
        truth = bits.to(torch.uint8).view(dtype).half()
        got = (halves & 0xFFFF).to(torch.int16).view(torch.float16)
        assert torch.equal(got[~truth.isnan()], truth[~truth.isnan()])
        assert torch.equal(got.isnan(), truth.isnan())


PAIRS = {
    "cvt.rn.f16x2.f32 {d}, {a}, {b};": ([((0x3F800000, 0x40000000), 0x3C004000)], "www"),
    "cvt.rn.bf16x2.f32 {d}, {a}, {b};": ([((0x3F800000, 0xC0000000), 0x3F80C000)], "www"),
    "cvt.s64.s32 {d}, {a};": ([((2**32 - 5,), 2**64 - 5)], "lw"),
    "cvt.u64.u32 {d}, {a};": ([((2**32 - 5,), 2**32 - 5)], "lw"),
    "cvt.u32.u64 {d}, {a};": ([((2**40 + 7,), 7)], "wl"),
    "cvt.u16.u32 {d}, {a};": ([((0x12345678,), 0x5678)], "hw"),
    "cvt.s32.s16 {d}, {a};": ([((0x8000,), 0xFFFF8000)], "wh"),
    "cvt.u32.u16 {d}, {a};": ([((0x8000,), 0x8000)], "wh"),
    "cvt.rn.f32.s32 {d}, {a};": ([((2**32 - 3,), 0xC0400000), ((2**24 + 1,), 0x4B800000)], "ww"),
    "cvt.rn.f32.u32 {d}, {a};": ([((2**32 - 1,), 0x4F800000)], "ww"),
    "cvt.rzi.s32.f32 {d}, {a};": (
        [((0xC0200000,), 2**32 - 2), ((0x7FC00000,), 0), ((0x4F800000,), 2**31 - 1)],
        "ww",
    ),
    "cvt.rzi.u32.f32 {d}, {a};": ([((0xC0200000,), 0), ((0x40200000,), 2)], "ww"),
}


@pytest.mark.parametrize("instruction", PAIRS)
def test_a_conversion_gives_the_values_of_its_definition(instruction):
    cases, widths = PAIRS[instruction]
    assert evaluate(instruction, cases, widths) == [expected for _, expected in cases]
