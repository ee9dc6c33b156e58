"""Blocks of a cluster: shared memory and mbarriers of one another, their barrier, multicast."""

from __future__ import annotations

import pytest
import torch

from tests.kernels.ptx.interpreter import Options
from tests.kernels.ptx.small_kernels import run_small, seen, with_mistake

SEEDS = range(1, 7)


def test_blocks_know_their_place_in_the_cluster():
    names = [
        "%cluster_ctarank",
        "%cluster_nctarank",
        "%clusterid.x",
        "%nclusterid.x",
        "%ctaid.x",
        "%cluster_ctaid.x",
    ]
    body = "".join(
        f"  mov.u32 %r1, {name};\n  mov.u32 %r2, %ctaid.x;\n  mad.lo.s32 %r2, %r2, 6, {n};\n"
        "  mul.wide.u32 %d1, %r2, 4;\n  add.s64 %d1, y_at, %d1;\n  @p st.global.b32 [%d1], %r1;\n"
        for n, name in enumerate(names)
    )
    y = torch.zeros((4, 6), dtype=torch.int32)
    assert run_small("setp.eq.u32 p, tid, 0;\n" + body, y=y, cluster=2, grid=4).faults == []
    assert y.tolist() == [[rank % 2, 2, rank // 2, 2, rank, rank % 2] for rank in range(4)]


EXCHANGE = """
  mov.u32 %r1, dynamic;
  shl.b32 %r2, tid, 2;
  add.u32 %r3, %r1, %r2;
  xor.b32 %r4, rank, 1;
  mapa.shared::cluster.u32 %r5, %r3, %r4;
  barrier.cluster.arrive.aligned;  // both have started
  barrier.cluster.wait.aligned;
  mad.lo.s32 %r6, rank, 100, tid;
  st.shared::cluster.b32 [%r5], %r6;
  barrier.cluster.arrive.release.aligned;  // both have written
  barrier.cluster.wait.acquire.aligned;
  ld.shared.b32 %r7, [%r3];
  mad.lo.s32 %r8, rank, 64, tid;
  mul.wide.u32 %d1, %r8, 4;
  add.s64 %d1, y_at, %d1;
  st.global.b32 [%d1], %r7;
"""


def exchange(body=EXCHANGE, seed=1):
    y = torch.zeros((2, 64), dtype=torch.int32)
    settings = Options(seed, max_steps=20000)
    return run_small(body, y=y, threads=64, cluster=2, dynamic_bytes=256, options=settings), y


@pytest.mark.parametrize("seed", SEEDS)
def test_blocks_write_into_each_others_shared_memory(seed):
    found, y = exchange(seed=seed)
    assert found.faults == []
    assert y.tolist() == [[100 + thread for thread in range(64)], list(range(64))]


WRITTEN = """  barrier.cluster.arrive.release.aligned;  // both have written
  barrier.cluster.wait.acquire.aligned;
"""
EXCHANGE_MISTAKES = {
    "no barrier": (WRITTEN, "", "shared"),
    "a barrier of the block": (WRITTEN, "  bar.sync 0;\n", "shared"),
    "a relaxed arrival": (
        "arrive.release.aligned;  // both have",
        "arrive.relaxed.aligned;  // both have",
        "race",
    ),
    "an arrival without a wait": ("  barrier.cluster.wait.acquire.aligned;\n", "", "race"),
    "two arrivals": (
        "// both have written\n",
        "\n  barrier.cluster.arrive.aligned;\n",
        "twice without a wait",
    ),
    "a wait without an arrival": (
        "  barrier.cluster.arrive.aligned;  // both have started\n",
        "",
        "without an arrive",
    ),
    "a rank of no block": ("xor.b32 %r4, rank, 1", "add.u32 %r4, rank, 2", "mapa of no block"),
    "a remote address as an own one": ("st.shared::cluster", "st.shared", "shared write out of bounds"),
    "past the other's memory": (
        "st.shared::cluster.b32 [%r5]",
        "st.shared::cluster.b32 [%r5+256]",
        "out of bounds",
    ),
}


@pytest.mark.parametrize("mistake", EXCHANGE_MISTAKES)
def test_a_mistake_between_blocks_is_found(mistake):
    source, planted, text = EXCHANGE_MISTAKES[mistake]
    body = with_mistake(EXCHANGE, source, planted)
    assert any(seen(exchange(body, seed)[0], text) for seed in SEEDS)


def test_a_read_of_a_block_that_has_ended_is_found():
    late = EXCHANGE + "  ld.shared::cluster.b32 %r7, [%r5];\n"
    faults = [exchange(late, seed)[0] for seed in SEEDS]
    assert any(seen(found, "a block that has ended") for found in faults)
    waits = late + "  barrier.cluster.arrive.aligned;\n  barrier.cluster.wait.aligned;\n"
    assert all(exchange(waits, seed)[0].faults == [] for seed in SEEDS)


def test_an_address_knows_its_block():
    body = """
  mov.u32 %r1, dynamic;
  mapa.shared::cluster.u32 %r2, %r1, 1;
  getctarank.shared::cluster.u32 %r3, %r2;
  getctarank.shared::cluster.u32 %r4, %r1;
  setp.eq.u32 p, tid, 0;
  mul.wide.u32 %d1, rank, 8;
  add.s64 %d1, y_at, %d1;
  @p st.global.v2.b32 [%d1], {%r3,%r4};
"""
    y = torch.zeros((2, 2), dtype=torch.int32)
    assert run_small(body, y=y, cluster=2).faults == []
    assert y.tolist() == [[1, 0], [1, 1]]


# ---- multicast -----------------------------------------------------------------------------------

COUNTERS = ".shared .align 8 .b8 full[8];\n.shared .align 8 .b8 empty[8];"
MULTICAST = """
  // Each block loads half of every step's 512 bytes for both; 4 steps in one stage.
  mov.u32 %r1, dynamic;
  mov.u32 %r2, full;
  mov.u32 %r3, empty;
  setp.ne.u32 p, tid, 0;
  @p bra started;
  mbarrier.init.shared::cta.b64 [%r2], 1;
  mbarrier.init.shared::cta.b64 [%r3], 2;
  fence.mbarrier_init.release.cluster;
started:
  barrier.cluster.arrive.relaxed.aligned;
  barrier.cluster.wait.aligned;
  shl.b32 %r4, rank, 8;
  add.u32 %r5, %r1, %r4;
  cvt.u64.u32 %d1, %r4;
  add.s64 %d1, x_at, %d1;
  mov.u16 %h1, 3;
  setp.eq.u32 p, warp, 0;
  mov.u32 %r10, 0;
  @!p bra consumer;
produce:
  elect.sync _|q, -1;
  @!q bra produced;
  setp.eq.u32 %p1, %r10, 0;
  @%p1 bra free;
  sub.u32 %r11, %r10, 1;
  and.b32 %r11, %r11, 1;
full_again:
  mbarrier.try_wait.parity.acquire.cluster.shared::cta.b64 %p2, [%r3], %r11;
  @!%p2 bra full_again;
free:
  mbarrier.arrive.expect_tx.shared::cta.b64 _, [%r2], 512;
  cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes.multicast::cluster
    [%r5], [%d1], 256, [%r2], %h1;
produced:
  bar.warp.sync -1;
  add.s64 %d1, %d1, 512;
  add.u32 %r10, %r10, 1;
  setp.lt.u32 q, %r10, 4;
  @q bra produce;
  bra end;
consumer:
  and.b32 %r11, %r10, 1;
  mbarrier.try_wait.parity.acquire.cluster.shared::cta.b64 q, [%r2], %r11;
  @!q bra consumer;
  shl.b32 %r12, lane, 4;
  add.u32 %r12, %r1, %r12;
  ld.shared.v4.b32 {%r13,%r14,%r15,%r16}, [%r12];
  shl.b32 %r17, rank, 2;
  add.u32 %r17, %r17, %r10;
  mad.lo.s32 %r17, %r17, 32, lane;
  mul.wide.u32 %d2, %r17, 16;
  add.s64 %d2, y_at, %d2;
  st.global.v4.b32 [%d2], {%r13,%r14,%r15,%r16};
  bar.warp.sync -1;
  setp.lt.u32 q, lane, 2;
  @q mapa.shared::cluster.u32 %r18, %r3, lane;
  @q mbarrier.arrive.release.cluster.shared::cluster.b64 _, [%r18];
  add.u32 %r10, %r10, 1;
  setp.lt.u32 q, %r10, 4;
  @q bra consumer;
end:
  barrier.cluster.arrive.aligned;  // the other may still arrive here
  barrier.cluster.wait.aligned;
"""


def multicast(body=MULTICAST, seed=1, quantum=40):
    x = torch.arange(512, dtype=torch.int32)
    y = torch.zeros((2, 512), dtype=torch.int32)
    settings = Options(seed, quantum=quantum, max_steps=20000)
    found = run_small(body, x, y, threads=64, cluster=2, shared=COUNTERS, dynamic_bytes=512, options=settings)
    return found, x, y


@pytest.mark.parametrize(("seed", "quantum"), [(1, 40), (2, 1), (3, 10000), (4, 5), (6, 10000)])
def test_a_load_reaches_both_blocks(seed, quantum):
    found, x, y = multicast(seed=seed, quantum=quantum)
    assert found.faults == []
    assert torch.equal(y[0], x)
    assert torch.equal(y[1], x)


END = (
    "  barrier.cluster.arrive.aligned;  // the other may still arrive here\n  barrier.cluster.wait.aligned;\n"
)
START = "  barrier.cluster.arrive.relaxed.aligned;\n  barrier.cluster.wait.aligned;\n"
MULTICAST_MISTAKES = {
    "to one block only": ("mov.u16 %h1, 3", "mov.u16 %h1, 1", "never completes"),
    "to a third block": ("mov.u16 %h1, 3", "mov.u16 %h1, 7", "outside the cluster"),
    "to no block": ("mov.u16 %h1, 3", "mov.u16 %h1, 0", "outside the cluster"),
    "no fence of the counters": ("  fence.mbarrier_init.release.cluster;\n", "", "initialisation"),
    "no barrier at the start": (START, "  bar.sync 0;\n", "mbarrier"),
    "both halves at one place": ("add.u32 %r5, %r1, %r4", "mov.u32 %r5, %r1", "copy under way"),
    "half of the bytes expected": ("_, [%r2], 512", "_, [%r2], 256", "mbarrier"),
    "a stage that is not free": ("@!%p2 bra full_again;", "", "bulk copy over"),
    "freed for the own block only": (
        "setp.lt.u32 q, lane, 2;",
        "setp.eq.u32 q, lane, rank;",
        "never completes",
    ),
    "freed by one arrival": ("[%r3], 2;", "[%r3], 1;", ""),
    "freed before it is read": (
        "  mbarrier.try_wait.parity.acquire.cluster.shared::cta.b64 q, [%r2], %r11;\n  @!q bra consumer;\n",
        "",
        "shared",
    ),
    "an end before the other's": (END, "", "a block that has ended"),
    "a relaxed arrival": (
        "arrive.release.cluster.shared::cluster",
        "arrive.relaxed.cluster.shared::cluster",
        "over reads",
    ),
    "a relaxed wait": (
        "try_wait.parity.acquire.cluster.shared::cta.b64 q",
        "try_wait.parity.relaxed.cluster.shared::cta.b64 q",
        "without waiting for its mbarrier",
    ),
}


@pytest.mark.parametrize("mistake", MULTICAST_MISTAKES)
def test_a_mistake_with_a_multicast_is_found(mistake):
    source, planted, text = MULTICAST_MISTAKES[mistake]
    body = with_mistake(MULTICAST, source, planted)
    results = [multicast(body, seed, 10000 if seed % 2 else 5)[0] for seed in SEEDS]
    assert any(seen(found, text) for found in results), [found.faults[:2] for found in results]


# ---- mbarriers by themselves ---------------------------------------------------------------------

STATES = """
  mov.u32 %r2, full;
  setp.ne.u32 p, tid, 0;
  @p bra ready;
  mbarrier.init.shared::cta.b64 [%r2], 3;
ready:
  bar.sync 0;
  @p bra end;
  mbarrier.arrive.shared::cta.b64 %d1, [%r2];
  mbarrier.test_wait.shared::cta.b64 q, [%r2], %d1;
  selp.b32 %r3, 1, 0, q;
  mbarrier.arrive.shared::cta.b64 _, [%r2], 2;
  mbarrier.test_wait.shared::cta.b64 q, [%r2], %d1;
  selp.b32 %r4, 1, 0, q;
  mbarrier.test_wait.parity.shared::cta.b64 q, [%r2], 0;
  selp.b32 %r5, 1, 0, q;
  mbarrier.test_wait.parity.shared::cta.b64 q, [%r2], 1;
  selp.b32 %r6, 1, 0, q;
  st.global.v4.b32 [y_at], {%r3,%r4,%r5,%r6};
  mbarrier.inval.shared::cta.b64 [%r2];
end:
"""


def states(body=STATES):
    y = torch.zeros(4, dtype=torch.int32)
    return run_small(body, y=y, shared=COUNTERS), y


def test_a_phase_completes_with_its_last_arrival():
    found, y = states()
    assert found.faults == []
    assert y.tolist() == [0, 1, 1, 0]


@pytest.mark.parametrize(
    ("source", "planted", "text"),
    [
        ("_, [%r2], 2", "_, [%r2], 3", "arrival beyond the expected"),
        ("[%r2], 3;", "[%r2], 0;", "mbarrier count out of range"),
        (
            "inval.shared::cta.b64 [%r2];",
            "inval.shared::cta.b64 [%r2];\n  mbarrier.arrive.shared::cta.b64 _, [%r2];",
            "before its initialisation",
        ),
        ("mov.u32 %r2, full;", "mov.u32 %r2, full;\n  add.u32 %r2, %r2, 4;", "misaligned shared mbarrier"),
        (
            "  mbarrier.inval.shared::cta.b64 [%r2];",
            "  st.shared.b32 [%r2], tid;",
            "write over a live mbarrier",
        ),
    ],
)
def test_a_mistake_with_an_mbarrier_is_found(source, planted, text):
    assert seen(states(with_mistake(STATES, source, planted))[0], text)
