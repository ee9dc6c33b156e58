// The state of a launch: clusters, blocks, warps, shared memory with what is known about each byte.
#pragma once

#include <atomic>
#include <deque>
#include <memory>
#include <mutex>

#include "program.hpp"

namespace ptx {

/// An array in global memory.
struct Region {
  u64 base, bytes;
  u32 flags;    // 1: may be read, 2: may be written
  u8* written;  // how often each byte was; may be null
  const char* name;
};

struct Options {
  u64 seed;
  int truncating;  // 0: sums of a product exact, rounded once; 1: cut as a pessimistic tensor core would
  int threads;     // of the host
  int quantum;     // most instructions of a warp before another may run
  int max_faults;
  u32 shared_shift;  // added to the base of dynamic shared memory, in bytes
  u64 max_steps;     // of a warp; 0: without end
  u32 cluster;       // blocks of a cluster
};

struct Fault {
  std::string text;
  u64 count = 0;
};

struct Run {
  const Kernel* kernel;
  u32 grid, threads, dynamic_bytes;
  std::vector<u8> parameters;
  std::vector<Region> regions;
  Options options;
  std::mutex lock;
  std::map<std::string, Fault> faults;
  std::map<std::string, u64> notes;
  std::atomic<u64> instructions{0}, lane_instructions{0}, divergent_branches{0}, late_meetings{0};

  void note(const std::string& text);
};

/// What a warp knows of all warps of its cluster: the latest of their clocks whose accesses come before its
/// own. The last entry belongs to the asynchronous copies. ("Memory Consistency Model": causality order.)
struct Knowledge {
  std::vector<u32> order;        // in causality order
  std::vector<u32> fenced;       // also with a proxy fence on the way, so visible to the async proxy
  std::vector<u32> initialised;  // mbarrier.init fenced by fence.mbarrier_init or a proxy fence

  void reset(size_t entries, u32 clock);
  void join(const Knowledge& other);
};

/// Two bytes of shared memory.
struct Grain {
  enum : u8 { SET = 1, IN_FLIGHT = 2, BARRIER = 4 };
  u32 clock = 0;   // of the writer, at its latest write
  s16 writer = 0;  // a thread's number in its cluster
  u8 flags = 0;
  u8 async_reads = 0;   // under way
  u32 latest_read = 0;  // the greatest clock of a reader

  /// All but `latest_read`.
  u64 state() const {
    u64 bits;
    memcpy(&bits, this, sizeof bits);
    return bits;
  }
};
static_assert(sizeof(Grain) == 12, "state() copies the first eight bytes");

struct AsyncCopy {
  u32 to;
  u64 from;
  u32 bytes, read;
};
struct AsyncGroups {  // of one thread
  std::deque<std::vector<AsyncCopy>> closed;
  std::vector<AsyncCopy> open;
};

struct WarpgroupProduct {
  const Instruction* instruction;
  u64 a, b;  // descriptors
  bool adds;
};
struct ProductGroups {  // of one warp
  std::deque<std::vector<WarpgroupProduct>> closed;
  std::vector<WarpgroupProduct> open;
};

struct Block;
struct Cluster;

struct Warp {
  Block* block;
  int index;  // in its block
  int id;     // in its cluster
  int threads;
  std::vector<u64> storage;
  u8* registers;
  std::vector<u32> predicates;
  u32 alive = 0, waiting = 0, parked = 0;  // lanes: not exited; at a collective; at a failed try_wait
  int pc = 0;
  bool uniform = true;  // all lanes at `pc`; else each at its own
  int pcs[LANES];
  bool blocked = false, failed_try = false;
  u64 steps = 0;

  Knowledge known;
  u32 clock = 1;
  u32 all_known = 0;      // the least clock of `known.order`, of the warps
  u32 lane_fence[LANES];  // clock of a lane's latest proxy fence

  AsyncGroups async[LANES];
  ProductGroups products;
  std::vector<u8> held, dirty;  // registers of wgmma under way; those written since the last wgmma.fence
  u32 register_count = 0;       // per thread, for setmaxnreg

  template <class T>
  T* at(u32 slot) {
    return reinterpret_cast<T*>(registers + slot);
  }
  int thread(int lane) const { return id * LANES + lane; }
};

struct MemoryBarrier {  // an mbarrier object
  bool live = false;
  u32 expected = 0, pending = 0;
  s64 bytes = 0;
  u64 phase = 0;
  u32 init_clock = 0;
  int init_thread = 0;
  Knowledge arriving, completed;
};

struct NamedBarrier {  // of bar.sync
  u32 expected = 0, arrived = 0;
  bool of_block = false;  // its number of threads is that of the block
  std::vector<Warp*> waiting;
  Knowledge gathered;
};

/// A bulk copy from global memory whose bytes have not landed.
struct BulkLoad {
  Block* block;
  u32 to;
  std::vector<u8> data;
  u32 barrier;  // an address in the same block
  u32 swizzle;  // bytes of a span: 0, 32, 64 or 128
};

/// A bulk copy to global memory; it reads shared memory at any time until its group is waited for.
struct BulkStore {
  u32 from;
  u32 swizzle;
  bool read = false;
  struct Piece {  // contiguous in global memory
    u64 to;
    u32 at, align;  // `at` counts from `from`, before the swizzle
    std::vector<u8> data;
  };
  std::vector<Piece> pieces;
};
struct StoreGroups {  // of one thread
  std::deque<std::vector<BulkStore>> closed;
  std::vector<BulkStore> open;
};

/// For each warp of the cluster, the clock and lane of its latest read of each grain: clock << 8 | lane.
struct Reads {
  static constexpr u32 SEVERAL = 0xff;
  std::vector<std::vector<u32>> rows;
  u32* row(int warp, size_t grains) {
    auto& found = rows[warp];
    if (found.empty()) found.assign(grains, 0);
    return found.data();
  }
};

struct Block {
  Cluster& cluster;
  Run& run;
  const Kernel& kernel;
  u32 rank = 0, index = 0;
  bool ended = false;
  std::vector<u8> shared;
  std::vector<Grain> grains;
  Reads reads;
  u32 shared_top = 0, dynamic_base = 0;
  std::map<u32, MemoryBarrier> memory_barriers;
  NamedBarrier named_barriers[16];
  std::map<int, StoreGroups> stores;  // by thread
  u32 free_registers = 0;
  std::vector<Warp*> register_waiters;

  explicit Block(Cluster& cluster);
  void fault(const std::string& kind, int thread, const char* format, ...)
      __attribute__((format(printf, 4, 5)));
  u8* bytes(u32 address) { return &shared[address - SHARED_BASE]; }
  Grain* grain(u32 address) { return &grains[(address - SHARED_BASE) / kernel.grain_bytes]; }
  u32 grains_in(u32 bytes) const { return (bytes + kernel.grain_bytes - 1) / kernel.grain_bytes; }
};

struct Cluster {
  Run& run;
  u32 index = 0;
  std::vector<std::unique_ptr<Block>> blocks;
  std::vector<Warp> warps;
  std::vector<int> ready, trying;
  u64 random_state = 0;
  const Instruction* now = nullptr;
  std::vector<BulkLoad> loads;
  int favoured = -1;    // rank of a block that runs ahead as far as it can
  u32 async_clock = 0;  // of landed copies
  u32 base_clock = 0;
  bool woken = false;  // an mbarrier's phase completed
  u64 steps = 0, lane_steps = 0;
  struct {
    u32 arrived = 0;
    u64 phase = 0;
    std::vector<u64> arrivals;  // of each warp
    std::vector<Warp*> waiting;
    Knowledge gathered, completed;
  } barrier;

  explicit Cluster(Run& run) : run(run) {}
  u32 random() {
    random_state = random_state * 6364136223846793005ull + 1442695040888963407ull;
    return random_state >> 33;
  }
  int async_thread() const { return int(warps.size()) * LANES; }
  void wake(Warp& warp);
};

/// Runs one cluster of a launch.
void run_cluster(Cluster& cluster, u32 index);

// ---- order of accesses (order.cpp) -----------------------------------------------------------

/// Publishes what a warp did and knows; later accesses get a later clock.
void release(Warp& warp, Knowledge& into);
/// Adds what was published to what a warp knows.
void acquire(Warp& warp, const Knowledge& from);

/// Whether a write of a thread at a clock comes before what this lane does now.
inline bool is_ordered(const Warp& warp, int lane, int writer, u32 clock) {
  return clock <= warp.known.order[writer / LANES] || writer == warp.thread(lane);
}

}  // namespace ptx
