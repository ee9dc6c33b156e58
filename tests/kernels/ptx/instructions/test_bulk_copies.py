"""Bulk copies and TMA: the bytes that they move; each fence, wait and barrier around them left out once."""

from __future__ import annotations

import ctypes
import itertools

import pytest
import torch

from tests.kernels.ptx import tensor_maps
from tests.kernels.ptx.interpreter import Options
from tests.kernels.ptx.small_kernels import run_small, seen, with_mistake

COUNTER = ".shared .align 8 .b8 full[8];"
ROUND_TRIP = """
  mov.u32 %r1, dynamic;
  mov.u32 %r2, full;
  setp.ne.u32 p, tid, 0;
  @p bra ready;
  mbarrier.init.shared::cta.b64 [%r2], 1;
  fence.mbarrier_init.release.cluster;
ready:
  bar.sync 0;  // the counter is ready
  @p bra wait;
  mbarrier.arrive.expect_tx.shared::cta.b64 _, [%r2], 1024;
  cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%r1], [x_at], 1024, [%r2];
wait:
  mbarrier.try_wait.parity.shared::cta.b64 q, [%r2], 0;
  @!q bra wait;
  shl.b32 %r3, tid, 4;
  add.u32 %r3, %r1, %r3;
  ld.shared.v4.b32 {%r4,%r5,%r6,%r7}, [%r3];
  add.u32 %r4, %r4, 1;
  st.shared.b32 [%r3], %r4;
  fence.proxy.async.shared::cta;
  bar.sync 0;  // all is written
  @p bra end;
  cp.async.bulk.global.shared::cta.bulk_group [y_at], [%r1], 1024;
  cp.async.bulk.commit_group;
  cp.async.bulk.wait_group 0;
end:
"""


def round_trip(body: str = ROUND_TRIP, seed: int = 1):
    x = torch.arange(256, dtype=torch.int32)
    y = torch.zeros(256, dtype=torch.int32)
    found = run_small(
        body, x, y, threads=64, shared=COUNTER, dynamic_bytes=1024, options=Options(seed, max_steps=20000)
    )
    return found, x, y


@pytest.mark.parametrize("seed", range(1, 6))
def test_bytes_go_to_shared_memory_and_back(seed):
    found, x, y = round_trip(seed=seed)
    assert found.faults == []
    x.view(64, 4)[:, 0] += 1
    assert torch.equal(y, x)


MISTAKES = {
    "no fence of the counter": (
        "  fence.mbarrier_init.release.cluster;\n",
        "",
        "fence after its initialisation",
    ),
    "no barrier after the counter's start": ("  bar.sync 0;  // the counter is ready\n", "", "mbarrier used"),
    "no wait": (
        "  mbarrier.try_wait.parity.shared::cta.b64 q, [%r2], 0;\n  @!q bra wait;\n",
        "",
        "shared read of",
    ),
    "a wait for the phase before": ("q, [%r2], 0;", "q, [%r2], 1;", "shared read of a copy under way"),
    "a parity of 2": ("q, [%r2], 0;", "q, [%r2], 2;", "parity neither 0 nor 1"),
    "too few bytes expected": ("_, [%r2], 1024", "_, [%r2], 1008", "an mbarrier's phase never completes"),
    "too many bytes expected": ("_, [%r2], 1024", "_, [%r2], 1040", "an mbarrier's phase never completes"),
    "two arrivals expected": ("[%r2], 1;", "[%r2], 2;", "an mbarrier's phase never completes"),
    "no proxy fence": (
        "  fence.proxy.async.shared::cta;\n",
        "",
        "bulk store reads a write without a proxy fence",
    ),
    "a fence of other memory": ("async.shared::cta", "async.global", "reads a write without a proxy fence"),
    "a fence too early": (
        "  st.shared.b32 [%r3], %r4;\n  fence.proxy.async.shared::cta;\n",
        "  fence.proxy.async.shared::cta;\n  st.shared.b32 [%r3], %r4;\n",
        "bulk store reads a write without a proxy fence",
    ),
    "no barrier before the store": (
        "  bar.sync 0;  // all is written\n",
        "",
        "reads a write without a barrier",
    ),
    "a store that is not committed": ("  cp.async.bulk.commit_group;\n", "", "not committed"),
    "a store that is not awaited": (
        "  cp.async.bulk.wait_group 0;\n",
        "",
        "a block ends while bulk stores read",
    ),
    "a wait for all but one": ("wait_group 0", "wait_group 1", "a block ends while bulk stores read"),
    "a write under the store": (
        "  cp.async.bulk.wait_group 0;\n",
        "  st.shared.b32 [%r3], %r4;\n  cp.async.bulk.wait_group 0;\n",
        "shared write under an asynchronous read",
    ),
    "a read of the counter": ("[%r3];\n  add", "[%r2];\n  add", "shared read of an mbarrier"),
    "a counter that starts twice": (
        "  mbarrier.init.shared::cta.b64 [%r2], 1;\n",
        "  mbarrier.init.shared::cta.b64 [%r2], 1;\n" * 2,
        "mbarrier.init of a live mbarrier",
    ),
    "a load past the array": ("[%r1], [x_at], 1024", "[%r1], [x_at], 1040", "global read out of bounds"),
    "a store past the array": ("[y_at], [%r1], 1024", "[y_at], [%r1], 1040", "bulk store out of bounds"),
    "odd bytes": ("[y_at], [%r1], 1024", "[y_at], [%r1], 1020", "not of whole 16 bytes"),
    "a load over a load": (
        "  cp.async.bulk.shared::cluster.global",
        "  cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%r1], [x_at], 1024, [%r2];\n"
        "  cp.async.bulk.shared::cluster.global",
        "bulk copy over a copy under way",
    ),
    "a load over what was written": (
        "  mbarrier.arrive.expect_tx",
        "  st.shared.b32 [%r1], tid;\n  mbarrier.arrive.expect_tx",
        "bulk copy over writes without a proxy fence",
    ),
    "a load over what another warp writes": (
        "  @p bra wait;\n",
        "  st.shared.b32 [%r1], tid;\n  @p bra wait;\n",
        "without a barrier",
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_around_a_bulk_copy_is_found(mistake):
    source, planted, text = MISTAKES[mistake]
    body = with_mistake(ROUND_TRIP, source, planted)
    results = [round_trip(body, seed)[0] for seed in range(1, 6)]
    assert all(found.faults for found in results)
    assert any(seen(found, text) for found in results)


def test_a_fence_after_the_barrier_by_the_thread_that_stores_is_enough():
    fence, store = "  fence.proxy.async.shared::cta;\n", "  cp.async.bulk.global"
    moved = with_mistake(with_mistake(ROUND_TRIP, fence, ""), store, fence + store)
    assert round_trip(moved)[0].faults == []


def test_a_read_only_wait_frees_shared_memory():
    after = "  cp.async.bulk.wait_group.read 0;\n  st.shared.b32 [%r3], %r4;\n  cp.async.bulk.wait_group 0;\n"
    found, x, y = round_trip(with_mistake(ROUND_TRIP, "  cp.async.bulk.wait_group 0;\n", after))
    assert found.faults == []
    x.view(64, 4)[:, 0] += 1
    assert torch.equal(y, x)


# ---- tensors -------------------------------------------------------------------------------------


def tensor_map(tensor: torch.Tensor, box: tuple[int, ...], swizzle: int = 0) -> bytes:
    """A map of a tensor and a box, both with the contiguous axis first in the map and last here."""
    storage = ctypes.create_string_buffer(256)
    start = -ctypes.addressof(storage) % 64
    strides = [stride * tensor.element_size() for stride in tensor.stride()[:-1]][::-1]
    kinds = {1: 0, 2: 1, 4: 2}
    code = tensor_maps.encode(
        *(ctypes.addressof(storage) + start, kinds[tensor.element_size()], tensor.dim(), tensor.data_ptr()),
        *(tuple(tensor.shape)[::-1], strides, box[::-1], (1,) * tensor.dim(), 0, swizzle, 0, 0),
    )
    assert code == 0
    return storage.raw[start : start + 128]


def tensor_body(rank: int, coordinates: tuple[int, ...], box_bytes: int) -> str:
    """Load a box, then store it by the other map at the same coordinates."""
    at = ", ".join(map(str, coordinates[::-1]))
    return f"""
  mov.u32 %r1, dynamic;
  mov.u32 %r2, full;
  setp.ne.u32 p, tid, 0;
  @p bra end;
  mbarrier.init.shared::cta.b64 [%r2], 1;
  fence.mbarrier_init.release.cluster;
  mbarrier.arrive.expect_tx.shared::cta.b64 _, [%r2], {box_bytes};
  cp.async.bulk.tensor.{rank}d.shared::cluster.global.mbarrier::complete_tx::bytes
    [%r1], [map_at, {{{at}}}], [%r2];
wait:
  mbarrier.try_wait.parity.shared::cta.b64 q, [%r2], 0;
  @!q bra wait;
  cp.async.bulk.tensor.{rank}d.global.shared::cta.bulk_group [out_at, {{{at}}}], [%r1];
  cp.async.bulk.commit_group;
  cp.async.bulk.wait_group 0;
end:
"""


@pytest.mark.parametrize("swizzle", range(4))
@pytest.mark.parametrize("rank", range(1, 6))
def test_a_box_of_a_tensor_goes_to_shared_memory_and_back(rank, swizzle):
    span = tensor_maps.SPAN_BYTES[swizzle]
    width = (span or 32) // 2
    shape = (3, 2, 5, 12, 40)[-rank:]
    box = (2, 1, 3, 8, width)[-rank:]
    coordinates = (2, 1, 3, 7, 8)[-rank:]  # past the end of all axes but one
    x = torch.arange(torch.Size(shape).numel(), dtype=torch.int16).reshape(shape) + 1
    y = torch.full(shape, -1, dtype=torch.int16)
    maps = [tensor_map(x, box, swizzle), tensor_map(y, box, swizzle)]
    body = tensor_body(rank, coordinates, 2 * torch.Size(box).numel())
    found = run_small(body, x, y, shared=COUNTER, dynamic_bytes=8192, maps=maps)
    assert found.faults == []
    inside = tuple(slice(start, start + edge) for start, edge in zip(coordinates, box, strict=True))
    expected = torch.full(shape, -1, dtype=torch.int16)
    expected[inside] = x[inside]
    assert torch.equal(y, expected)


@pytest.mark.parametrize("swizzle", range(4))
def test_a_swizzle_permutes_units_of_16_bytes(swizzle):
    span = tensor_maps.SPAN_BYTES[swizzle] or 128
    x = torch.arange(16 * span // 2, dtype=torch.int16).reshape(16, span // 2)
    y = torch.zeros_like(x)
    body = (
        tensor_body(2, (0, 0), 16 * span)
        .replace("@p bra end;", "@p bra dump;")
        .replace(
            "  cp.async.bulk.tensor.2d.global.shared::cta.bulk_group [out_at, {0, 0}], [%r1];\n"
            "  cp.async.bulk.commit_group;\n  cp.async.bulk.wait_group 0;\nend:\n",
            f"""dump:
  bar.sync 0;
  shl.b32 %r3, tid, 4;
  mul.wide.u32 %d1, tid, 16;
  add.s64 %d1, y_at, %d1;
  add.u32 %r4, %r1, %r3;
  setp.ge.u32 p, tid, {span};
  @p bra end;
  ld.shared.v4.b32 {{%r5,%r6,%r7,%r8}}, [%r4];
  st.global.v4.b32 [%d1], {{%r5,%r6,%r7,%r8}};
end:
""",
        )
    )
    found = run_small(
        body,
        x,
        y,
        threads=128,
        shared=COUNTER,
        dynamic_bytes=4096,
        maps=[tensor_map(x, (16, span // 2), swizzle)],
    )
    assert found.faults == []
    period = {0: 0, 1: 4, 2: 2, 3: 1}[swizzle]  # rows of a unit's permutation
    units = x.reshape(16, span // 16, 8)
    for row, unit in itertools.product(range(16), range(span // 16)):
        moved = unit ^ (row % 8 // period) if period else unit
        assert torch.equal(y.reshape(16, span // 16, 8)[row, moved], units[row, unit])


def test_outside_a_tensor_are_zeros_in_shared_memory():
    x = torch.ones((4, 16), dtype=torch.int16)
    y = torch.full((8, 16), -1, dtype=torch.int16)
    maps = [tensor_map(x, (8, 16)), tensor_map(y, (8, 16))]
    found = run_small(tensor_body(2, (0, 0), 256), x, y, shared=COUNTER, dynamic_bytes=1024, maps=maps)
    assert found.faults == []
    assert y[:4].unique().tolist() == [1]
    assert y[4:].unique().tolist() == [0]


@pytest.mark.parametrize(
    ("source", "planted", "text"),
    [
        ("mov.u32 %r1, dynamic;", "mov.u32 %r1, dynamic;\n  add.u32 %r1, %r1, 64;", "misaligned swizzled"),
        ("[map_at", "[x_at", "tensor map not at the generic address of a parameter"),
        ("_, [%r2], 1024", "_, [%r2], 1008", "never completes"),
    ],
)
def test_a_mistake_with_a_tensor_is_found(source, planted, text):
    x, y = torch.ones((8, 64), dtype=torch.int16), torch.zeros((8, 64), dtype=torch.int16)
    body = with_mistake(tensor_body(2, (0, 0), 1024), source, planted)
    maps = [tensor_map(x, (8, 64), 3), tensor_map(y, (8, 64), 3)]
    assert seen(run_small(body, x, y, shared=COUNTER, dynamic_bytes=2048, maps=maps), text)


def test_a_map_of_another_rank_is_found():
    x, y = torch.ones((8, 64), dtype=torch.int16), torch.zeros((8, 64), dtype=torch.int16)
    maps = [tensor_map(x.reshape(2, 4, 64), (2, 4, 64), 3), tensor_map(y, (8, 64), 3)]
    found = run_small(tensor_body(2, (0, 0), 1024), x, y, shared=COUNTER, dynamic_bytes=2048, maps=maps)
    assert seen(found, "no tensor map of this rank")


@pytest.mark.parametrize(
    "change",
    [
        {"box": (8, 12)},  # 24 bytes
        {"box": (300, 16)},
        {"shape": (8, 12)},  # a stride of 24 bytes
        {"swizzle": 1, "box": (8, 32)},  # 64 bytes in a span of 32
        {"offset": 4},
    ],
)
def test_the_stand_in_refuses_what_the_driver_refuses(change):
    x = torch.zeros(change.get("shape", (8, 64)), dtype=torch.int16)
    x = x.flatten()[change.get("offset", 0) :][: x.numel() // 2].reshape(4, -1) if "offset" in change else x
    with pytest.raises(AssertionError):
        tensor_map(x, change.get("box", (4, 16)), change.get("swizzle", 0))
