// Runs the blocks of a cluster together, their warps in random order; in a warp that has diverged, the lanes
// with the lowest pc go first, so that lanes meet again.
#include <algorithm>

#include "copies.hpp"
#include "warpgroup.hpp"

namespace ptx {

Block::Block(Cluster& cluster) : cluster(cluster), run(cluster.run), kernel(*cluster.run.kernel) {}

void Cluster::wake(Warp& warp) {
  warp.blocked = false;
  ready.push_back(warp.id);
}

namespace {

enum class State { runs, blocked, tries, done };

// ---- lanes of a warp -------------------------------------------------------------------------

u32 all_lanes(const Warp& w) { return w.threads == LANES ? FULL_MASK : (1u << w.threads) - 1; }

void advance_lanes(Warp& w, u32 mask, int next) {
  if (w.uniform) {
    w.pc = next;
  } else {
    for (u32 rest = mask; rest; rest &= rest - 1) w.pcs[__builtin_ctz(rest)] = next;
  }
}

void converge(Warp& w, int pc) {
  w.uniform = true;
  w.pc = pc;
  w.waiting = 0;
}

/// The pc of the lanes of a mask, or -1 if they differ.
int common_pc(const Warp& w, u32 mask) {
  const int first = w.pcs[__builtin_ctz(mask)];
  for (u32 rest = mask; rest; rest &= rest - 1) {
    if (w.pcs[__builtin_ctz(rest)] != first) return -1;
  }
  return first;
}

/// All lanes that are left wait for a collective instruction: false, with a fault, if for different ones.
bool meet_late(Warp& w) {
  Run& run = w.block->run;
  const int pc = common_pc(w, w.waiting);
  w.block->cluster.now = &w.block->kernel.code[w.pcs[__builtin_ctz(w.waiting)]];
  if (pc < 0) {
    w.block->fault("lanes of a warp wait at different instructions", w.thread(0), "mask %#x", w.waiting);
    return false;
  }
  ++run.late_meetings;
  const Instruction& at = w.block->kernel.code[pc];
  run.note("lanes met late at line " + std::to_string(at.line) + ": " + at.text.substr(0, 100));
  converge(w, pc);
  return true;
}

/// The lanes that go next, all at `pc`; 0 if none can.
u32 next_lanes(Warp& w, int& pc) {
  if (w.uniform) {
    pc = w.pc;
    return w.alive;
  }
  const u32 can = w.alive & ~w.waiting & ~w.parked;
  if (!can) return 0;
  pc = w.pcs[__builtin_ctz(can)];
  for (u32 rest = can; rest; rest &= rest - 1) pc = std::min(pc, w.pcs[__builtin_ctz(rest)]);
  u32 mask = 0;
  for (u32 rest = can; rest; rest &= rest - 1) {
    const int lane = __builtin_ctz(rest);
    mask |= u32(w.pcs[lane] == pc) << lane;
  }
  return mask;
}

// ---- one instruction -------------------------------------------------------------------------

void branch(Warp& w, const Instruction& i, u32 mask, u32 taken, int pc) {
  if (taken == mask) return advance_lanes(w, mask, i.target);
  if (taken == 0) return advance_lanes(w, mask, pc + 1);
  if (i.flag) w.block->fault("bra.uni diverges", w.thread(0), " ");
  ++w.block->run.divergent_branches;
  w.uniform = false;
  for (u32 rest = mask; rest; rest &= rest - 1) {
    const int lane = __builtin_ctz(rest);
    w.pcs[lane] = taken >> lane & 1 ? i.target : pc + 1;
  }
}

/// False if lanes must still arrive.
bool collective(Warp& w, const Instruction& i, u32 mask, u32 active, int pc) {
  if (!w.uniform && mask != w.alive) {
    w.waiting |= mask;
    return false;
  }
  if (!w.uniform) converge(w, pc);
  if (w.alive != all_lanes(w)) {
    w.block->fault("barrier or warp instruction after lanes have left", w.thread(0), "alive %#x", w.alive);
  }
  if (active != mask) {
    w.block->fault("barrier or warp instruction for some lanes only", w.thread(0), "mask %#x", active);
  }
  w.pc = pc + 1;
  if (active) i.handler(w, i, active);
  return true;
}

/// Lanes that stand at the same place again go on together.
void rejoin(Warp& w) {
  const int pc = common_pc(w, w.alive);
  if (pc >= 0 && !w.parked) converge(w, pc);
}

State advance(Warp& w, int quantum) {
  Cluster& cluster = w.block->cluster;
  const auto& code = w.block->kernel.code;
  const bool watches = w.block->kernel.has_wgmma;
  const u64 most = w.block->run.options.max_steps;
  while (quantum-- > 0) {
    if (most && ++w.steps > most) {
      w.block->fault("too many steps", w.thread(0), " ");
      return State::done;
    }
    int pc = 0;
    const u32 mask = next_lanes(w, pc);
    if (!mask) {
      if (w.parked) return State::tries;
      if (!meet_late(w)) return State::done;
      continue;
    }
    const Instruction& i = code[pc];
    u32 active = mask;
    if (i.guard >= 0) active &= i.guard_negated ? ~w.predicates[i.guard] : w.predicates[i.guard];
    ++cluster.steps;
    cluster.lane_steps += u32(__builtin_popcount(active));
    cluster.now = &i;
    switch (i.flow) {
      case Flow::plain:
        if (active && watches) watch_registers(w, i);
        if (active) i.handler(w, i, active);
        advance_lanes(w, mask, pc + 1);
        break;
      case Flow::branch:
        branch(w, i, mask, active, pc);
        break;
      case Flow::exit:
        advance_lanes(w, mask, pc + 1);
        w.alive &= ~active;
        if (!w.alive) return State::done;
        break;
      case Flow::collective:
        if (!collective(w, i, mask, active, pc)) continue;
        if (w.blocked) return State::blocked;
        break;
    }
    if (!w.uniform) rejoin(w);
    if (w.failed_try) {
      w.failed_try = false;
      if (w.uniform) return State::tries;
    }
  }
  return State::runs;
}

// ---- the blocks of a cluster -----------------------------------------------------------------

u32 special_value(const Warp& w, const std::string& name, u32 lane) {
  const Block& b = *w.block;
  const u32 cluster = u32(b.cluster.blocks.size());
  if (name == "%tid.x") return u32(w.index) * LANES + lane;
  if (name == "%ntid.x") return b.run.threads;
  if (name == "%ctaid.x") return b.index;
  if (name == "%nctaid.x") return b.run.grid;
  if (name == "%laneid") return lane;
  if (name == "%warpid") return u32(w.index);
  if (name == "%nwarpid") return (b.run.threads + LANES - 1) / LANES;
  if (name == "%lanemask_eq") return 1u << lane;
  if (name == "%lanemask_lt") return (1u << lane) - 1;
  if (name == "%lanemask_le") return (2u << lane) - 1;
  if (name == "%clusterid.x") return b.cluster.index;
  if (name == "%nclusterid.x") return b.run.grid / cluster;
  if (name == "%cluster_ctaid.x" || name == "%cluster_ctarank") return b.rank;
  if (name == "%cluster_nctaid.x" || name == "%cluster_nctarank") return cluster;
  if (name == "%dynamic_smem_size") return b.run.dynamic_bytes;
  if (name == "%nsmid") return 132;
  if (name == "%smid") return b.index % 132;
  if (name == "dynamic shared memory") return b.dynamic_base;
  // Grids, clusters and blocks have one dimension: extents of 1 along y and z, indices of 0.
  return name.find("%n") == 0 || name.find("%cluster_n") == 0;
}

void start_warp(Warp& w, Block& b, int index, size_t entries) {
  const Kernel& k = b.kernel;
  w.block = &b;
  w.index = index;
  w.threads = std::min(LANES, int(b.run.threads) - LANES * index);
  if (w.storage.empty()) {
    w.storage.resize(k.register_bytes / 8 + 32);
    w.registers = reinterpret_cast<u8*>((reinterpret_cast<uintptr_t>(w.storage.data()) + 127) / 128 * 128);
  }
  memset(w.registers, 0xfe, k.register_bytes);
  w.predicates.assign(size_t(k.predicates) + 1, 0xaaaaaaaau);
  const auto put = [&](u32 slot, u8 bits, int lane, u64 value) {
    bits == 64 ? void(w.at<u64>(slot)[lane] = value) : void(w.at<u32>(slot)[lane] = u32(value));
  };
  for (int lane = 0; lane < LANES; ++lane) {
    for (const auto& constant : k.constants) put(constant.slot, constant.bits, lane, constant.value);
    for (const auto& special : k.specials) {
      put(special.slot, special.bits, lane, special_value(w, special.name, u32(lane)));
    }
  }
  w.alive = all_lanes(w);
  w.waiting = w.parked = 0;
  w.pc = 0;
  w.uniform = true;
  w.blocked = w.failed_try = false;
  w.steps = 0;
  w.known.reset(entries, b.cluster.base_clock);
  w.clock = b.cluster.base_clock + 1;
  w.all_known = b.cluster.base_clock;
  std::fill(std::begin(w.lane_fence), std::end(w.lane_fence), 0);
  for (AsyncGroups& groups : w.async) groups = {};
  w.products = {};
  w.held.assign(k.register_bytes / 128 + 2, 0);
  w.dirty = w.held;
  // Registers of a thread at the launch: what the launch bounds leave, in units of 8.
  const u32 resident = b.run.threads * u32(std::max(1, k.min_blocks));
  w.register_count = std::min(256u, 65536 / std::max(1u, resident) / 8 * 8);
}

void start_block(Block& b, u32 index, u32 rank, size_t warps) {
  const Kernel& k = b.kernel;
  const u32 align = std::max(16u, k.dynamic_align);
  b.index = index;
  b.rank = rank;
  b.ended = false;
  b.dynamic_base =
      (SHARED_BASE + k.static_shared_bytes + align - 1) / align * align + b.run.options.shared_shift;
  b.shared_top = b.dynamic_base + b.run.dynamic_bytes;
  const u32 bytes = b.shared_top - SHARED_BASE;
  b.shared.assign(bytes + 16, 0xff);
  b.grains.assign(b.grains_in(bytes + 16), Grain{});
  b.reads.rows.resize(warps);
  b.memory_barriers.clear();
  for (NamedBarrier& barrier : b.named_barriers) barrier = {};
  b.stores.clear();
  b.register_waiters.clear();
  b.free_registers = 0;
}

void start_cluster(Cluster& c, u32 index) {
  const Run& run = c.run;
  const u32 blocks = std::max(1u, run.options.cluster);
  const size_t per_block = (run.threads + LANES - 1) / LANES, warps = per_block * blocks;
  c.index = index;
  c.random_state = run.options.seed * 2654435761ull + index * 40503ull + 12345;
  c.random();
  // Every third seed lets one block of a cluster run ahead.
  c.favoured = blocks > 1 && run.options.seed % 3 == 0 ? int(c.random() % blocks) : -1;
  // Clocks go on, so that what earlier clusters read need not be forgotten.
  u32 latest = c.async_clock;
  for (const Warp& w : c.warps) latest = std::max(latest, w.clock);
  if (latest > 1u << 22) {
    latest = 0;
    for (auto& block : c.blocks) block->reads.rows.clear();
  }
  c.base_clock = c.async_clock = latest;
  c.loads.clear();
  c.ready.clear();
  c.trying.clear();
  c.woken = false;
  c.steps = c.lane_steps = 0;
  c.barrier = {};
  c.barrier.arrivals.assign(warps, 0);
  while (c.blocks.size() < blocks) c.blocks.push_back(std::make_unique<Block>(c));
  if (c.warps.empty()) c.warps.resize(warps);
  for (u32 rank = 0; rank < blocks; ++rank) {
    start_block(*c.blocks[rank], index * blocks + rank, rank, warps);
    for (size_t n = 0; n < per_block; ++n) {
      Warp& w = c.warps[rank * per_block + n];
      w.id = int(rank * per_block + n);
      start_warp(w, *c.blocks[rank], int(n), warps + 1);
      c.ready.push_back(w.id);
    }
  }
}

void retry(Cluster& c) {
  for (Warp& w : c.warps) w.parked = 0;  // also of those whose other lanes still run
  c.ready.insert(c.ready.end(), c.trying.begin(), c.trying.end());
  c.trying.clear();
  c.woken = false;
}

void end_warp(Warp& w) {
  Block& b = *w.block;
  Cluster& c = b.cluster;
  w.alive = 0;
  leave_barriers(w);
  const bool last =
      std::all_of(c.warps.begin(), c.warps.end(), [&](const Warp& o) { return o.block != &b || !o.alive; });
  if (!last) return;
  finish_copies(b);
  const auto pending =
      std::count_if(c.loads.begin(), c.loads.end(), [&](const BulkLoad& l) { return l.block == &b; });
  if (pending) b.fault("a block ends with bulk copies under way", w.thread(0), "%d", int(pending));
  b.ended = true;
}

/// Nothing can go on: false if that is a deadlock.
bool unblock(Cluster& c) {
  if (!c.loads.empty()) {
    land_load(c, c.random() % c.loads.size());
    retry(c);
    return true;
  }
  for (const Warp& w : c.warps) {
    if (!w.alive) continue;
    c.now = &w.block->kernel.code[w.uniform ? std::max(0, w.pc - 1) : w.pcs[__builtin_ctz(w.alive)]];
    const bool tries = std::find(c.trying.begin(), c.trying.end(), w.id) != c.trying.end();
    w.block->fault(tries ? "deadlock: an mbarrier's phase never completes" : "deadlock", w.thread(0),
                   "%d warps try, %d in all", int(c.trying.size()), int(c.warps.size()));
  }
  return false;
}

/// The place in `ready` of the warp that runs next.
size_t pick_warp(Cluster& c) {
  const size_t pick = c.random() % c.ready.size();
  for (size_t n = 0; c.favoured >= 0 && n < c.ready.size(); ++n) {
    const size_t place = (pick + n) % c.ready.size();
    if (int(c.warps[c.ready[place]].block->rank) == c.favoured) return place;
  }
  return pick;
}

}  // namespace

void run_cluster(Cluster& c, u32 index) {
  start_cluster(c, index);
  size_t done = 0;
  while (done < c.warps.size()) {
    if (!c.loads.empty() && c.random() % 16 == 0) land_load(c, c.random() % c.loads.size());
    if (c.woken) retry(c);
    if (c.ready.empty()) {
      if (!unblock(c)) break;
      continue;
    }
    const size_t pick = pick_warp(c);
    Warp& w = c.warps[c.ready[pick]];
    const State state = advance(w, 1 + int(c.random() % u32(c.run.options.quantum)));
    if (state == State::runs) continue;
    // Warps woken meanwhile were added behind this one, which kept its place.
    c.ready[pick] = c.ready.back();
    c.ready.pop_back();
    if (state == State::tries) c.trying.push_back(w.id);
    if (state == State::done) {
      ++done;
      end_warp(w);
    }
  }
  c.run.instructions += c.steps;
  c.run.lane_instructions += c.lane_steps;
}

}  // namespace ptx
