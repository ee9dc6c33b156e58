"""Kernels of a few lines, written in PTX, to run one instruction or one mistake."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import torch

from tests.kernels.ptx.interpreter import WRITABLE, Findings, Options, Program, array

ENTRY = "small"
TEMPLATE = """
.version 9.0
.target sm_90a
.address_size 64
.extern .shared .align 1024 .b8 dynamic[];
.visible .entry small(
  .param .align 64 .b8 map[128],
  .param .align 64 .b8 out[128],
  .param .u64 x,
  .param .u64 y
)
.maxntid {threads}, 1, 1
{cluster}
{{
  .reg .pred p, q, %p<16>;
  .reg .b16 %h<32>;
  .reg .b32 tid, lane, warp, rank, %r<64>;
  .reg .f32 %f<256>;
  .reg .b64 x_at, y_at, map_at, out_at, mine, %d<32>;
  {shared}
  ld.param.u64 x_at, [x];
  ld.param.u64 y_at, [y];
  mov.b64 map_at, map;
  cvta.param.u64 map_at, map_at;
  mov.b64 out_at, out;
  cvta.param.u64 out_at, out_at;
  mov.u32 tid, %tid.x;
  mov.u32 lane, %laneid;
  shr.u32 warp, tid, 5;
  mov.u32 rank, %cluster_ctarank;
  {body}
  ret;
}}
"""


@cache
def small_program(body: str, threads: int = 32, cluster: int = 1, shared: str = "") -> Program:
    """A kernel with this body; it finds tid, lane, warp, rank, x_at, y_at and the maps in registers."""
    directive = f".explicitcluster\n.reqnctapercluster {cluster}, 1, 1" if cluster > 1 else ""
    return Program(TEMPLATE.format(body=body, threads=threads, cluster=directive, shared=shared))


def run_small(
    body: str,
    x: torch.Tensor | None = None,
    y: torch.Tensor | None = None,
    threads: int = 32,
    cluster: int = 1,
    shared: str = "",
    dynamic_bytes: int = 0,
    maps: Sequence[bytes] = (),
    options: Options | None = None,
    grid: int | None = None,
) -> Findings:
    """Launch a small kernel on one cluster; x may be read and y written."""
    program = small_program(body, threads, cluster, shared)
    arrays = []
    if x is not None:
        arrays.append(array("x", x))
    if y is not None:
        arrays.append(array("y", y, WRITABLE, torch.zeros(y.nbytes, dtype=torch.uint8)))
    packed = b"".join(data.ljust(128, b"\0") for data in [*maps, b"", b""][:2])
    for tensor in (x, y):
        packed += (0 if tensor is None else tensor.data_ptr()).to_bytes(8, "little")
    blocks = cluster if grid is None else grid
    settings = options or Options(max_steps=20000)
    return program.launch(ENTRY, blocks, threads, dynamic_bytes, packed, arrays, settings)


def with_mistake(body: str, source: str, planted: str) -> str:
    """The body of a kernel with another text in place of one that it holds."""
    assert source in body
    return body.replace(source, planted)


def seen(findings: Findings, text: str) -> bool:
    """Whether a fault holds this text."""
    return any(text in fault for fault in findings.faults)


def evaluate(instruction: str, cases: Sequence[tuple[tuple[int, ...], int]], widths: str) -> list[int]:
    """The results of an instruction, each case on a lane of its own.

    Args:
        instruction: With `{d}` for the result and `{a}`, `{b}`, `{c}`, `{e}` for the inputs.
        cases: The bits of the inputs and of the expected result, which is not used.
        widths: Bits of the result and of the inputs by letter: h 16, w 32, l 64.
    """
    inputs = torch.zeros((32, 4), dtype=torch.int64)
    for lane, (values, _) in enumerate(cases):
        for position, value in enumerate(values):
            inputs[lane, position] = value - 2**64 if value >= 2**63 else value
    bits = {"h": 16, "w": 32, "l": 64}
    registers = {"h": "%h", "w": "%r", "l": "%d"}
    names = {"d": f"{registers[widths[0]]}20"}
    lines = ["shl.b32 %r60, tid, 5;", "cvt.u64.u32 %d30, %r60;", "add.s64 %d31, x_at, %d30;"]
    for position, width in enumerate(widths[1:]):
        name = f"{registers[width]}{21 + position}"
        names["abce"[position]] = name
        lines.append(f"ld.global.b{bits[width]} {name}, [%d31+{8 * position}];")
    lines.append(instruction.format(**names))
    lines += ["shl.b32 %r60, tid, 3;", "cvt.u64.u32 %d30, %r60;", "add.s64 %d31, y_at, %d30;"]
    lines.append(f"st.global.b{bits[widths[0]]} [%d31], {names['d']};")
    results = torch.zeros(32, dtype=torch.int64)
    found = run_small("\n  ".join(lines), inputs, results)
    assert found.faults == []
    return [int(value) % 2**64 for value in results[: len(cases)]]
