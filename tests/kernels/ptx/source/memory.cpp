// Bounds, alignment, initialisation and order of every access to memory.
#include "memory.hpp"

#include <algorithm>
#include <cstdarg>

namespace ptx {

using ull = unsigned long long;

// ---- reports ---------------------------------------------------------------------------------

void Run::note(const std::string& text) {
  std::lock_guard<std::mutex> hold(lock);
  ++notes[text];
}

void Block::fault(const std::string& kind, int thread, const char* format, ...) {
  char detail[512];
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(detail, sizeof detail, format, arguments);
  va_end(arguments);
  const Instruction* now = cluster.now;
  const int line = now ? now->line : 0;
  std::lock_guard<std::mutex> hold(run.lock);
  Fault& found = run.faults[kind + "@" + std::to_string(line)];
  if (found.count++) return;
  const int warps = int(cluster.warps.size() / cluster.blocks.size());
  char whole[900];
  snprintf(whole, sizeof whole, "%s: block %u thread %d line %d [%s]: %s", kind.c_str(), index,
           thread % (warps * LANES), line, now ? now->text.c_str() : "", detail);
  found.text = whole;
}

// ---- global memory ---------------------------------------------------------------------------

const Region* find_region(const Run& run, u64 address, u64 bytes) {
  for (const Region& region : run.regions) {
    if (address >= region.base && address + bytes <= region.base + region.bytes) return &region;
  }
  return nullptr;
}

bool read_global(Block& b, int thread, u64 address, u32 bytes, void* to, u32 align) {
  if (address % align) b.fault("misaligned global read", thread, "%u bytes at %#llx", align, ull(address));
  const Region* region = find_region(b.run, address, bytes);
  if (!region || !(region->flags & 1)) {
    b.fault(region ? "global read of an output" : "global read out of bounds", thread, "%u bytes at %#llx",
            bytes, ull(address));
    memset(to, 0xff, bytes);
    return false;
  }
  if (region->written && (region->flags & 2)) {
    const u8* written = region->written + (address - region->base);
    if (std::find(written, written + bytes, 0) != written + bytes) {
      b.fault("global read of bytes never written", thread, "%u bytes at %s+%#llx", bytes, region->name,
              ull(address - region->base));
    }
  }
  memcpy(to, reinterpret_cast<const void*>(address), bytes);
  return true;
}

void write_global(Block& b, int thread, u64 address, u32 bytes, const void* from, u32 align) {
  if (address % align) b.fault("misaligned global write", thread, "%u bytes at %#llx", align, ull(address));
  const Region* region = find_region(b.run, address, bytes);
  if (!region || !(region->flags & 2)) {
    b.fault(region ? "global write to an input" : "global write out of bounds", thread, "%u bytes at %#llx",
            bytes, ull(address));
    return;
  }
  if (region->written) {
    u8* written = region->written + (address - region->base);
    const bool again = std::any_of(written, written + bytes, [](u8 times) { return times > 0; });
    if (again) {
      b.fault("global byte written twice", thread, "%u bytes at %s+%#llx", bytes, region->name,
              ull(address - region->base));
    }
    for (u32 i = 0; i < bytes; ++i) written[i] = u8(std::min(written[i] + 1, 255));
  }
  memcpy(reinterpret_cast<void*>(address), from, bytes);
}

// ---- shared memory ---------------------------------------------------------------------------

Place find_place(Warp& w, int lane, u32 address) {
  const u32 rank = address >> RANK_SHIFT;
  if (rank == 0) return {w.block, address};
  Cluster& cluster = w.block->cluster;
  if (rank > cluster.blocks.size()) {
    w.block->fault("shared::cluster address of no block", w.thread(lane), "%#x", address);
    return {nullptr, 0};
  }
  Block* found = cluster.blocks[rank - 1].get();
  if (found->ended) {
    w.block->fault("shared memory of a block that has ended", w.thread(lane), "%#x", address);
    return {nullptr, 0};
  }
  return {found, address & ~RANK_MASK};
}

bool check_bounds(Block& b, int thread, u32 address, u32 bytes, u32 align, const char* access) {
  if (address % align) {
    b.fault(std::string("misaligned shared ") + access, thread, "%u bytes at %#x", align, address);
  }
  if (address >= SHARED_BASE && u64(address) + bytes <= b.shared_top) return true;
  b.fault(std::string("shared ") + access + " out of bounds", thread, "%u bytes at %#x, top %#x", bytes,
          address, b.shared_top);
  return false;
}

static u32 first_grain(const Block& b, u32 address) { return (address - SHARED_BASE) / b.kernel.grain_bytes; }
static u32 end_grain(const Block& b, u32 address, u32 bytes) { return b.grains_in(address - SHARED_BASE + bytes); }

static __attribute__((noinline)) void report_read(Warp& w, int lane, Block& b, u32 address, const Grain& g) {
  const int thread = w.thread(lane);
  if (g.flags & Grain::BARRIER) b.fault("shared read of an mbarrier", thread, "at %#x", address);
  if (g.flags & Grain::IN_FLIGHT) {
    b.fault("shared read of a copy under way", thread, "at %#x, writer %d", address, g.writer);
  } else if (!(g.flags & Grain::SET)) {
    b.fault("shared read of bytes never written", thread, "at %#x", address);
  }
  if (is_ordered(w, lane, g.writer, g.clock)) return;
  if (g.writer == b.cluster.async_thread()) {
    b.fault("shared race: read of a copy without waiting for its mbarrier", thread, "at %#x", address);
  } else {
    b.fault("shared race: read after write without a barrier", thread, "at %#x, writer %d", address,
            g.writer);
  }
}

void note_read(Warp& w, int lane, Block& b, u32 address, u32 bytes) {
  u32* row = b.reads.row(w.id, b.grains.size());
  const u32 stamp = w.clock << 8;
  u64 checked = ~0ull;  // the state of the grain before, which is that of the next one as a rule
  for (u32 g = first_grain(b, address), end = end_grain(b, address, bytes); g < end; ++g) {
    Grain& grain = b.grains[g];
    if (grain.state() != checked) {
      if (grain.flags != Grain::SET || !is_ordered(w, lane, grain.writer, grain.clock)) {
        report_read(w, lane, b, address, grain);
      }
      checked = grain.state();
    }
    grain.latest_read = std::max(grain.latest_read, w.clock);
    const u32 before = row[g];
    const bool another = (before ^ stamp) < 256 && (before & 0xff) != u32(lane);
    row[g] = stamp | (another ? Reads::SEVERAL : u32(lane));
  }
}

/// Whether no other lane of the warp has read these grains since its latest synchronisation.
static bool read_by_lane(const u32* begin, const u32* end, u32 lane, u32 synchronised) {
  return std::all_of(begin, end,
                     [=](u32 read) { return read >> 8 <= synchronised || (read & 0xff) == lane; });
}

/// Reports reads that may come after this write.
static void check_readers(Warp& w, int lane, Block& b, u32 first, u32 end, const char* kind, u32 address) {
  u32 newest = 0;
  for (u32 g = first; g < end; ++g) newest = std::max(newest, b.grains[g].latest_read);
  if (newest <= w.all_known) return;
  for (size_t reader = 0; reader < b.reads.rows.size(); ++reader) {
    const auto& row = b.reads.rows[reader];
    if (row.empty()) continue;
    u32 latest = 0;
    for (u32 g = first; g < end; ++g) latest = std::max(latest, row[g]);
    if (latest >> 8 <= w.known.order[reader]) continue;
    if (int(reader) == w.id && read_by_lane(&row[first], &row[end], u32(lane), w.known.order[reader]))
      continue;
    b.fault(kind, w.thread(lane), "at %#x, reader %d", address, int(reader) * LANES + int(latest & 31));
  }
}

static __attribute__((noinline)) void report_write(Warp& w, int lane, Block& b, u32 address, const Grain& g,
                                                   bool lands) {
  const int thread = w.thread(lane);
  if (g.flags & Grain::BARRIER) b.fault("shared write over a live mbarrier", thread, "at %#x", address);
  if (g.flags & Grain::IN_FLIGHT && !lands) {
    b.fault("shared write over a copy under way", thread, "at %#x, writer %d", address, g.writer);
  }
  if (g.async_reads) b.fault("shared write under an asynchronous read", thread, "at %#x", address);
  if (!is_ordered(w, lane, g.writer, g.clock)) {
    b.fault("shared race: write after write without a barrier", thread, "at %#x, writer %d", address,
            g.writer);
  }
}

void note_write(Warp& w, int lane, Block& b, u32 address, u32 bytes, bool lands) {
  const u32 first = first_grain(b, address), end = end_grain(b, address, bytes);
  const u8 watched = u8(~(Grain::SET | (lands ? Grain::IN_FLIGHT : 0)));
  u64 checked = ~0ull;
  for (u32 g = first; g < end; ++g) {
    Grain& grain = b.grains[g];
    if (grain.state() != checked) {
      checked = grain.state();
      if (grain.flags & watched || grain.async_reads || !is_ordered(w, lane, grain.writer, grain.clock)) {
        report_write(w, lane, b, address, grain, lands);
      }
    }
    grain.writer = s16(w.thread(lane));
    grain.clock = w.clock;
    grain.flags |= Grain::SET;
  }
  check_readers(w, lane, b, first, end, "shared race: write after read without a barrier", address);
}

// ---- the async proxy -------------------------------------------------------------------------

/// Whether a proxy fence stands between a write by the generic proxy and what this lane does now.
static bool is_fenced(const Warp& w, int lane, const Grain& g) {
  if (g.writer == w.block->cluster.async_thread()) return true;
  return g.clock <= w.known.fenced[g.writer / LANES] ||
         (g.writer == w.thread(lane) && g.clock <= w.lane_fence[lane]);
}

void begin_async_read(Warp& w, int lane, Block& b, u32 address, u32 bytes, Reader reader) {
  const char* name = reader == Reader::wgmma ? "wgmma" : "bulk store";
  const auto report = [&](const char* problem) {
    b.fault(std::string(name) + problem, w.thread(lane), "at %#x", address);
  };
  for (u32 g = first_grain(b, address), end = end_grain(b, address, bytes); g < end; ++g) {
    Grain& grain = b.grains[g];
    ++grain.async_reads;
    if (grain.flags == Grain::SET && grain.clock <= w.known.fenced[grain.writer / LANES]) continue;
    if (grain.flags & Grain::BARRIER) report(" reads an mbarrier");
    if (grain.flags & Grain::IN_FLIGHT) {
      report(" reads a copy under way");
    } else if (!(grain.flags & Grain::SET)) {
      report(" reads bytes never written");
    } else if (grain.clock > w.known.order[grain.writer / LANES] &&
               (reader == Reader::wgmma || grain.writer != w.thread(lane))) {
      report(" reads a write without a barrier");
    } else if (!is_fenced(w, lane, grain)) {
      report(" reads a write without a proxy fence");
    }
  }
}

void end_async_read(Warp& w, int lane, Block& b, u32 address, u32 bytes) {
  u32* row = b.reads.row(w.id, b.grains.size());
  for (u32 g = first_grain(b, address), end = end_grain(b, address, bytes); g < end; ++g) {
    --b.grains[g].async_reads;
    b.grains[g].latest_read = std::max(b.grains[g].latest_read, w.clock);
    row[g] = w.clock << 8 | u32(lane);
  }
}

void begin_async_write(Warp& w, int lane, Block& b, u32 address, u32 bytes) {
  const auto report = [&](const char* problem) { b.fault(problem, w.thread(lane), "at %#x", address); };
  const u32 first = first_grain(b, address), end = end_grain(b, address, bytes);
  for (u32 g = first; g < end; ++g) {
    Grain& grain = b.grains[g];
    if (grain.flags & Grain::BARRIER) report("bulk copy over a live mbarrier");
    if (grain.flags & Grain::IN_FLIGHT) report("bulk copy over a copy under way");
    if (grain.async_reads) report("bulk copy over what is read asynchronously");
    if (!is_ordered(w, lane, grain.writer, grain.clock)) {
      report("bulk copy over writes without a barrier");
    } else if (grain.flags & Grain::SET && !is_fenced(w, lane, grain)) {
      report("bulk copy over writes without a proxy fence");
    }
    grain.flags |= Grain::IN_FLIGHT;
    grain.writer = s16(b.cluster.async_thread());
    grain.clock = 0;
  }
  check_readers(w, lane, b, first, end, "bulk copy over reads without a barrier", address);
}

}  // namespace ptx
