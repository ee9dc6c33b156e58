"""Lanes and warps: divergence, collective instructions, named barriers, registers."""

from __future__ import annotations

import pytest
import torch

from tests.kernels.ptx.interpreter import Options
from tests.kernels.ptx.small_kernels import evaluate, run_small, seen

HALF = "setp.lt.u32 p, lane, 16;\n  "


@pytest.mark.parametrize(
    ("statements", "text"),
    [
        (HALF + "@p bar.sync 0;", "for some lanes only"),
        (HALF + "@p bra over;\n  bar.sync 0;\nover:", "after lanes have left"),
        (
            HALF + "@p bra over;\n  bar.sync 1;\n  bra end;\nover:\n  bar.sync 2;\nend:",
            "different instructions",
        ),
        (HALF + "@p bra.uni over;\nover:", "bra.uni diverges"),
        (HALF + "@p bra over;\n  ret;\nover:\n  bar.warp.sync -1;", "after lanes have left"),
        ("bar.sync 16;", "barrier number over 15"),
        ("bar.sync 0, 48;", "no multiple of a warp's"),
        ("mbarrier.try_wait.parity.shared::cta.b64 p, [%r1], 0;", "mbarrier used before its initialisation"),
    ],
)
def test_a_warp_that_falls_apart_is_found(statements, text):
    assert seen(run_small(f"mov.u32 %r1, 1024;\n  {statements}", threads=64), text)


def test_a_barrier_that_some_warps_never_reach_is_a_deadlock():
    body = (
        "setp.eq.u32 p, warp, 1;\n  @p bra other;\n  bar.sync 1, 64;\n  bra end;\nother:\n"
        "  bar.sync 2, 64;\nend:"
    )
    assert seen(run_small(body, threads=64), "deadlock")


def test_an_endless_loop_ends_at_the_limit_of_steps():
    found = run_small("again:\n  bra again;", options=Options(max_steps=1000))
    assert seen(found, "too many steps")


NAMED = """
  mov.u32 %r1, dynamic;
  shl.b32 %r2, tid, 2;
  add.u32 %r3, %r1, %r2;
  setp.ge.u32 p, warp, 2;
  @p bra others;
  st.shared.b32 [%r3], tid;
  bar.sync 1, {count};
  xor.b32 %r4, %r2, 128;
  add.u32 %r4, %r1, %r4;
  ld.shared.b32 %r5, [%r4];
others:
"""


def test_a_named_barrier_orders_the_warps_that_take_part():
    assert run_small(NAMED.format(count=64), threads=128, dynamic_bytes=512).faults == []


def test_a_named_barrier_orders_no_others():
    assert seen(run_small(NAMED.format(count=32), threads=128, dynamic_bytes=512), "without a barrier")


def test_an_arrival_orders_without_waiting():
    body = """
  mov.u32 %r1, dynamic;
  shl.b32 %r2, lane, 2;
  add.u32 %r3, %r1, %r2;
  setp.eq.u32 p, warp, 1;
  @p bra consumer;
  st.shared.b32 [%r3], tid;
  bar.arrive 3, 64;
  bra end;
consumer:
  bar.sync 3, 64;
  ld.shared.b32 %r5, [%r3];
end:
"""
    assert run_small(body, threads=64, dynamic_bytes=128).faults == []
    assert seen(run_small(body.replace("  bar.sync 3, 64;\n", ""), threads=64, dynamic_bytes=128), "read")


@pytest.mark.parametrize("seed", range(1, 5))
def test_one_lane_is_elected(seed):
    y = torch.zeros(32, dtype=torch.int32)
    body = """
  elect.sync %r1|p, -1;
  elect.sync _|q, 0xffffffff;
  selp.b32 %r2, 1, 0, p;
  selp.b32 %r3, 1, 0, q;
  add.s32 %r2, %r2, %r3;
  mul.wide.u32 %d1, tid, 4;
  add.s64 %d1, y_at, %d1;
  st.global.b32 [%d1], %r2;
"""
    assert run_small(body, y=y, options=Options(seed=seed)).faults == []
    assert sorted(y.tolist()) == [0] * 31 + [2]  # the same lane both times


SHUFFLES = {
    "idx": ("3, 31", [3] * 32),
    "up": ("1, 0", [0, *range(31)]),
    "down": ("1, 31", [*range(1, 32), 31]),
    "bfly": ("1, 31", [lane ^ 1 for lane in range(32)]),
}


@pytest.mark.parametrize("kind", SHUFFLES)
def test_lanes_exchange_registers(kind):
    operands, expected = SHUFFLES[kind]
    shuffle = f"mov.u32 {{a}}, tid;\n  shfl.sync.{kind}.b32 {{d}}, {{a}}, {operands}, -1;"
    assert evaluate(shuffle, [((0,), 0)] * 32, "ww") == expected


def test_lanes_vote():
    vote = (
        "setp.lt.u32 p, tid, 4;\n  vote.sync.ballot.b32 {d}, p, -1;\n  vote.sync.any.pred q, p, -1;\n"
        "  selp.b32 %r30, 16, 0, q;\n  add.s32 {d}, {d}, %r30;\n  vote.sync.all.pred q, p, -1;\n"
        "  selp.b32 %r30, 32, 0, q;\n  add.s32 {d}, {d}, %r30;"
    )
    assert evaluate(vote, [((0,), 0)], "ww") == [0b1111 + 16]


REGISTERS = """
  setp.eq.u32 p, warp, 0;
  @p bra producer;
  setmaxnreg.inc.sync.aligned.u32 {inc};
  bra end;
producer:
  setmaxnreg.dec.sync.aligned.u32 {dec};
end:
"""


def test_registers_move_from_warps_that_release_them():
    # 512 threads start with 128 registers; the first warp leaves 104 of its own for 13 warps to take 8 each.
    body = REGISTERS.replace(
        "@p bra producer;", "@p bra producer;\n  setp.gt.u32 q, warp, 13;\n  @q bra end;"
    )
    assert run_small(body.format(inc=136, dec=24), threads=512).faults == []


def test_registers_that_nobody_releases_are_a_deadlock():
    assert seen(run_small(REGISTERS.format(inc=136, dec=120), threads=512), "deadlock")


def test_setmaxnreg_in_the_other_direction_is_found():
    assert seen(
        run_small(REGISTERS.format(inc=120, dec=24), threads=512), "setmaxnreg in the other direction"
    )


ONE_LANE_WAITS = """
  mov.u32 %r1, full;
  setp.ne.u32 p, tid, 0;
  @p bra ready;
  mbarrier.init.shared::cta.b64 [%r1], 1;
ready:
  bar.sync 0;
  setp.eq.u32 p, warp, 1;
  @p bra arrive;
  mov.u32 %r2, 50;
  setp.ne.u32 p, lane, 0;
  @p bra work;
wait:
  mbarrier.try_wait.parity.shared::cta.b64 q, [%r1], 0;
  @!q bra wait;
  bra together;
work:
  sub.u32 %r2, %r2, 1;
  setp.ne.u32 q, %r2, 0;
  @q bra work;
together:
  bar.warp.sync -1;
  bra end;
arrive:
  setp.eq.u32 q, lane, 0;
  @q mbarrier.arrive.shared::cta.b64 _, [%r1];
end:
"""


def test_a_lane_that_waits_is_woken_while_the_others_work():
    for seed in range(1, 31):
        options = Options(seed, quantum=20, max_steps=20000)
        found = run_small(ONE_LANE_WAITS, threads=64, shared=".shared .align 8 .b8 full[8];", options=options)
        assert found.faults == []
