// "Parallel Synchronization and Communication Instructions": bar, barrier.cluster, fence.
#include "barriers.hpp"

#include <algorithm>

#include "decoder.hpp"

namespace ptx {
namespace {

using ull = unsigned long long;

// ---- bar -------------------------------------------------------------------------------------

void complete_named(NamedBarrier& barrier, Warp* last) {
  for (Warp* warp : barrier.waiting) {
    acquire(*warp, barrier.gathered);
    if (warp != last) warp->block->cluster.wake(*warp);
  }
  barrier.waiting.clear();
  barrier.arrived = barrier.expected = 0;
}

u32 threads_of(const Block& b) { return (b.run.threads + LANES - 1) / LANES * LANES; }

// "bar.sync", "bar.arrive": of `count` operands; `flag` where the warp waits.
void bar(Warp& w, const Instruction& i, u32) {
  Block& b = *w.block;
  const u64 number = value_of(w, i.operands[0][0], 0);
  if (number > 15) return b.fault("barrier number over 15", w.thread(0), "%llu", ull(number));
  NamedBarrier& barrier = b.named_barriers[number];
  const u32 all = threads_of(b), expected = i.count > 1 ? u32(value_of(w, i.operands[1][0], 0)) : all;
  if (expected % LANES || expected == 0 || expected > all) {
    b.fault("barrier for a number of threads that is no multiple of a warp's", w.thread(0), "%u", expected);
  }
  if (barrier.arrived && barrier.expected != expected) {
    b.fault("barrier with different numbers of threads", w.thread(0), "%u and %u", barrier.expected,
            expected);
  }
  if (barrier.gathered.order.empty()) barrier.gathered.reset(w.known.order.size(), 0);
  barrier.expected = expected;
  barrier.of_block = i.count == 1;
  barrier.arrived += LANES;
  release(w, barrier.gathered);
  if (i.flag) {
    barrier.waiting.push_back(&w);
    w.blocked = true;
  }
  if (barrier.arrived < expected) return;
  w.blocked = false;
  complete_named(barrier, &w);
}

bool decode_bar(Decoder& d) {
  Instruction& it = d.instruction;
  d.take("cta");
  const bool syncs = d.take("sync");
  if (!syncs) d.require("arrive");
  d.take("aligned");
  it.flow = Flow::collective;
  it.handler = bar;
  it.flag = syncs;
  it.count = int(d.arguments.size());
  if (it.count < 1 || it.count > 2 || (!syncs && it.count != 2)) d.unknown();
  for (size_t n = 0; n < d.arguments.size(); ++n) d.vector(n, 32, 1);
  d.finish(size_t(it.count));
  return true;
}

// ---- barrier.cluster -------------------------------------------------------------------------

u32 live_warps(const Cluster& cluster) {
  return u32(
      std::count_if(cluster.warps.begin(), cluster.warps.end(), [](const Warp& w) { return w.alive; }));
}

void complete_cluster_if_due(Cluster& cluster) {
  auto& barrier = cluster.barrier;
  if (barrier.arrived == 0 || barrier.arrived < live_warps(cluster)) return;
  ++barrier.phase;
  barrier.arrived = 0;
  barrier.completed = barrier.gathered;
  for (Warp* warp : barrier.waiting) {
    acquire(*warp, barrier.completed);
    cluster.wake(*warp);
  }
  barrier.waiting.clear();
}

// "barrier.cluster.arrive": `flag` for the release semantics; a relaxed arrival orders only what
// fence.mbarrier_init has released.
void arrive_cluster(Warp& w, const Instruction& i, u32) {
  Cluster& cluster = w.block->cluster;
  auto& barrier = cluster.barrier;
  if (barrier.gathered.order.empty()) barrier.gathered.reset(w.known.order.size(), 0);
  if (cluster.barrier.arrivals[w.id] > barrier.phase) {
    w.block->fault("barrier.cluster.arrive twice without a wait", w.thread(0), " ");
  }
  cluster.barrier.arrivals[w.id] = barrier.phase + 1;
  ++barrier.arrived;
  if (i.flag) {
    release(w, barrier.gathered);
  } else {
    auto& published = barrier.gathered.initialised;
    for (size_t n = 0; n < published.size(); ++n)
      published[n] = std::max(published[n], w.known.initialised[n]);
  }
  complete_cluster_if_due(cluster);
}

// "barrier.cluster.wait".
void wait_cluster(Warp& w, const Instruction&, u32) {
  auto& barrier = w.block->cluster.barrier;
  const u64 arrived_at = barrier.arrivals[w.id];
  if (arrived_at == 0) return w.block->fault("barrier.cluster.wait without an arrive", w.thread(0), " ");
  if (barrier.phase >= arrived_at) return acquire(w, barrier.completed);
  w.blocked = true;
  barrier.waiting.push_back(&w);
}

bool decode_cluster_barrier(Decoder& d) {
  Instruction& it = d.instruction;
  d.require("cluster");
  const bool arrives = d.take("arrive");
  if (!arrives) d.require("wait");
  it.flag = !(arrives && d.take("relaxed"));
  d.take(arrives ? "release" : "acquire");
  d.take("aligned");
  it.flow = Flow::collective;
  it.handler = arrives ? arrive_cluster : wait_cluster;
  d.finish(0);
  return true;
}

// ---- fence -----------------------------------------------------------------------------------

// "fence.mbarrier_init".
void fence_initialisation(Warp& w, const Instruction&, u32) {
  w.known.initialised = w.known.order;
  w.known.initialised[w.id] = w.clock++;
}

// "fence.proxy.async": all that comes before is visible to the async proxy.
void fence_proxy(Warp& w, const Instruction& i, u32 mask) {
  for_lanes(mask, [&](int lane) { w.lane_fence[lane] = w.clock; });
  w.known.fenced = w.known.order;
  w.known.fenced[w.id] = w.clock;
  fence_initialisation(w, i, mask);
}

bool decode_fence(Decoder& d) {
  Instruction& it = d.instruction;
  if (d.take("mbarrier_init")) {
    d.require("release");
    d.require("cluster");
    it.handler = fence_initialisation;
  } else if (d.take("proxy")) {
    d.require("async");
    const bool global = d.take("global");
    if (!global && !d.take("shared::cta")) d.take("shared::cluster");
    it.handler = global ? do_nothing : fence_proxy;
  } else {
    for (const char* word : {"acq_rel", "sc", "acquire", "release"}) d.take(word);
    for (const char* scope : {"cta", "cluster", "gpu", "sys", "gl"}) d.take(scope);
    it.handler = do_nothing;
  }
  d.finish(0);
  return true;
}

}  // namespace

void leave_barriers(Warp& w) {
  Block& b = *w.block;
  for (NamedBarrier& barrier : b.named_barriers) {
    u32 left = 0;
    for (const Warp& other : b.cluster.warps) left += other.block == &b && !other.alive ? LANES : 0;
    if (!barrier.arrived || !barrier.of_block || barrier.arrived + left < barrier.expected) continue;
    b.run.note("a barrier that some warps have left for good");
    complete_named(barrier, nullptr);
  }
  complete_cluster_if_due(b.cluster);
}

bool decode_barriers(Decoder& d) {
  if (d.name == "fence") return decode_fence(d);
  if (d.name == "bar" && d.opcode != "bar.warp.sync") return decode_bar(d);
  if (d.name == "barrier")
    return d.opcode.find(".cluster") == std::string::npos ? decode_bar(d) : decode_cluster_barrier(d);
  return false;
}

}  // namespace ptx
