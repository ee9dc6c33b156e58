// "mbarrier": objects in shared memory that count arrivals and bytes.
#include <algorithm>
#include <cstdlib>

#include "barriers.hpp"
#include "decoder.hpp"

namespace ptx {
namespace {

using ull = unsigned long long;

void complete_phase_if_due(Cluster& cluster, MemoryBarrier& barrier) {
  if (!barrier.live || barrier.pending || barrier.bytes) return;
  ++barrier.phase;
  barrier.pending = barrier.expected;
  barrier.completed = barrier.arriving;
  cluster.woken = true;
}

Place barrier_place(Warp& w, const Instruction& i, size_t operand, int lane) {
  const u32 address = shared_address(w, i.operands[operand][0], lane, i.offset[0]);
  return i.space == Space::cluster ? find_place(w, lane, address) : Place{w.block, address};
}

// "mbarrier.init".
void initialise(Warp& w, const Instruction& i, u32 mask) {
  Block& b = *w.block;
  for_lanes(mask, [&](int lane) {
    const u32 address = barrier_place(w, i, 0, lane).address;
    const int thread = w.thread(lane);
    if (!check_bounds(b, thread, address, 8, 8, "mbarrier")) return;
    MemoryBarrier& barrier = b.memory_barriers[address];
    if (barrier.live) {
      b.fault("mbarrier.init of a live mbarrier", thread, "at %#x", address);
      return;
    }
    note_write(w, lane, b, address, 8);
    const u32 count = u32(value_of(w, i.operands[1][0], lane));
    if (count == 0 || count >= 1u << 20) b.fault("mbarrier count out of range", thread, "%u", count);
    barrier = {};
    barrier.live = true;
    barrier.expected = barrier.pending = count;
    barrier.init_clock = w.clock;
    barrier.init_thread = thread;
    for (auto* known : {&barrier.arriving, &barrier.completed}) known->reset(w.known.order.size(), 0);
    for (u32 n = 0; n < b.grains_in(8); ++n) b.grain(address)[n].flags |= Grain::BARRIER;
  });
}

// "mbarrier.inval".
void invalidate(Warp& w, const Instruction& i, u32 mask) {
  Block& b = *w.block;
  for_lanes(mask, [&](int lane) {
    const Place place = barrier_place(w, i, 0, lane);
    MemoryBarrier* barrier = find_barrier(w, lane, place);
    if (!barrier) return;
    barrier->live = false;
    for (u32 n = 0; n < b.grains_in(8); ++n) b.grain(place.address)[n].flags &= u8(~Grain::BARRIER);
    note_write(w, lane, b, place.address, 8);
  });
}

void expect_bytes(Block& b, int thread, MemoryBarrier& barrier, s64 bytes) {
  barrier.bytes += bytes;
  if (std::abs(barrier.bytes) >= 1 << 20)
    b.fault("mbarrier tx-count out of range", thread, "%lld", (long long)barrier.bytes);
}

// "mbarrier.arrive", "mbarrier.arrive.expect_tx", "mbarrier.expect_tx": variant 1 arrives, 2 expects bytes;
// `flag` for the release semantics; `count` is 1 where arrivals are counted by an operand.
void arrive(Warp& w, const Instruction& i, u32 mask) {
  Cluster& cluster = w.block->cluster;
  for_lanes(mask, [&](int lane) {
    const Place place = barrier_place(w, i, 0, lane);
    MemoryBarrier* barrier = find_barrier(w, lane, place);
    if (!barrier) return;
    const int thread = w.thread(lane);
    const u32 number = i.operands.size() > 1 ? u32(value_of(w, i.operands[1][0], lane)) : 1;
    if (i.destination) w.at<u64>(i.destination)[lane] = barrier->phase;
    if (i.variant & 2) expect_bytes(*w.block, thread, *barrier, number);
    if (i.variant & 1) {
      const u32 arrivals = i.count ? number : 1;
      if (arrivals > barrier->pending) {
        w.block->fault("mbarrier arrival beyond the expected", thread, "at %#x", place.address);
      } else {
        barrier->pending -= arrivals;
      }
      if (i.flag) release(w, barrier->arriving);
    }
    complete_phase_if_due(cluster, *barrier);
  });
}

// "mbarrier.test_wait", "mbarrier.try_wait": variant 1 for a parity, 2 for test_wait; `flag` for the acquire
// semantics.
void wait_barrier(Warp& w, const Instruction& i, u32 mask) {
  u32 completed = 0;
  const MemoryBarrier* acquired = nullptr;
  for_lanes(mask, [&](int lane) {
    const Place place = barrier_place(w, i, 0, lane);
    MemoryBarrier* barrier = find_barrier(w, lane, place);
    if (!barrier) return;
    const u64 asked = value_of(w, i.operands[1][0], lane);
    if (i.variant & 1 && asked > 1)
      w.block->fault("mbarrier parity neither 0 nor 1", w.thread(lane), "%llu", ull(asked));
    const bool done = i.variant & 1 ? (barrier->phase & 1) != asked : barrier->phase > asked;
    if (!done) return;
    completed |= 1u << lane;
    if (i.flag && barrier != acquired) acquire(w, barrier->completed);
    acquired = barrier;
  });
  u32& predicate = w.predicates[i.predicate_out];
  predicate = (predicate & ~mask) | completed;
  if (completed == mask || i.variant & 2) return;
  w.failed_try = true;
  w.parked |= mask & ~completed;
}

/// Takes `.sem` and `.scope`; whether the semantics are not relaxed.
bool take_semantics(Decoder& d, const char* ordering) {
  const bool relaxed = d.take("relaxed");
  if (!relaxed) d.take(ordering);
  if (!d.take("cta")) d.take("cluster");
  return !relaxed;
}

void take_barrier_space(Decoder& d) {
  Instruction& it = d.instruction;
  it.space = d.take("shared::cluster") ? Space::cluster : Space::shared;
  if (it.space == Space::shared && !d.take("shared::cta")) d.take("shared");
  d.require("b64");
}

// "mbarrier.arrive" with or without expect_tx.
void decode_arrive(Decoder& d) {
  Instruction& it = d.instruction;
  const bool expects = d.take("expect_tx");
  it.flag = take_semantics(d, "release");
  take_barrier_space(d);
  it.variant = expects ? 3 : 1;
  it.handler = arrive;
  if (d.arguments.size() < 2 || (it.space == Space::cluster && d.arguments[0] != "_")) d.unknown();
  if (d.arguments[0] != "_") it.destination = d.slot(0, 64);
  d.address(1, 32, it.offset[0]);
  it.count = !expects && d.arguments.size() == 3;
  const bool number = expects || it.count;
  if (number) d.vector(2, 32, 1);
  d.finish(number ? 3 : 2);
}

// "mbarrier.expect_tx": without an arrival.
void decode_expect(Decoder& d) {
  Instruction& it = d.instruction;
  take_semantics(d, "relaxed");
  take_barrier_space(d);
  it.variant = 2;
  it.handler = arrive;
  d.address(0, 32, it.offset[0]);
  d.vector(1, 32, 1);
  d.finish(2);
}

void decode_wait(Decoder& d, bool tests) {
  Instruction& it = d.instruction;
  const bool parity = d.take("parity");
  it.flag = take_semantics(d, "acquire");
  take_barrier_space(d);
  it.variant = int(parity) | int(tests) << 1;
  it.handler = wait_barrier;
  it.predicate_out = d.predicate(0);
  d.address(1, 32, it.offset[0]);
  d.vector(2, parity ? 32 : 64, 1);
  const bool hint = !tests && d.arguments.size() == 4;  // of the longest suspension
  d.finish(hint ? 4 : 3);
}

}  // namespace

MemoryBarrier* find_barrier(Warp& w, int lane, Place place) {
  if (!place.block) return nullptr;
  const auto found = place.block->memory_barriers.find(place.address);
  if (found == place.block->memory_barriers.end() || !found->second.live) {
    w.block->fault("mbarrier used before its initialisation", w.thread(lane), "at %#x", place.address);
    return nullptr;
  }
  MemoryBarrier& barrier = found->second;
  const bool fenced = barrier.init_clock <= w.known.initialised[barrier.init_thread / LANES];
  if (!fenced && !is_ordered(w, lane, barrier.init_thread, barrier.init_clock)) {
    w.block->fault("mbarrier used without a barrier after its initialisation", w.thread(lane), "at %#x",
                   place.address);
  }
  return &barrier;
}

void check_async_barrier(Warp& w, int lane, Place place) {
  const MemoryBarrier* barrier = find_barrier(w, lane, place);
  if (!barrier || barrier->init_clock <= w.known.initialised[barrier->init_thread / LANES]) return;
  w.block->fault("bulk copy counts on an mbarrier without a fence after its initialisation", w.thread(lane),
                 "at %#x", place.address);
}

void complete_bytes(Cluster& cluster, Block& block, u32 address, s64 bytes) {
  MemoryBarrier& barrier = block.memory_barriers[address];
  if (!barrier.live) return;
  barrier.bytes -= bytes;
  u32& landed = barrier.arriving.order.back();
  landed = std::max(landed, cluster.async_clock);
  complete_phase_if_due(cluster, barrier);
}

bool decode_mbarrier(Decoder& d) {
  if (d.name != "mbarrier") return false;
  Instruction& it = d.instruction;
  const std::string kind = d.take_next();
  if (kind == "init" || kind == "inval") {
    take_barrier_space(d);
    it.handler = kind == "init" ? initialise : invalidate;
    d.address(0, 32, it.offset[0]);
    if (kind == "init") d.vector(1, 32, 1);
    d.finish(kind == "init" ? 2 : 1);
  } else if (kind == "arrive") {
    decode_arrive(d);
  } else if (kind == "expect_tx") {
    decode_expect(d);
  } else if (kind == "try_wait" || kind == "test_wait") {
    decode_wait(d, kind == "test_wait");
  } else {
    d.unknown();
  }
  return true;
}

}  // namespace ptx
