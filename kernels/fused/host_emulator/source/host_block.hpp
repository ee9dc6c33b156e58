// A thread block on the CPU: one fiber per CUDA thread, in a random order determined by a seed.
//
// A fiber runs until it needs other threads: the block at a barrier, its warp at a warp instruction.
// Contexts are created with ucontext and switched with _setjmp and _longjmp, which make no system calls
// (build with -U_FORTIFY_SOURCE: the fortified longjmp forbids jumps between stacks).
#pragma once

#include <csetjmp>
#include <memory>
#include <ucontext.h>

#include "host_banks.hpp"
#include "host_memory.hpp"

namespace ks::host {

constexpr int WARP = 32;
constexpr size_t STACK_BYTES = 128 * 1024;

/// The operands of a warp's lanes for an instruction that they execute together.
struct Lane {
  const void* in = nullptr;
  void* out = nullptr;
  int thread = 0;
};
using WarpInstruction = void (*)(Lane (&lanes)[WARP]);

class Cluster;

class Block {
  struct Fiber {
    std::unique_ptr<char[]> stack{new char[STACK_BYTES]};
    ucontext_t context;
    jmp_buf resume;
    bool started;
    bool stored_to_peer;  // since the cluster's latest barrier
    Copies copies;
  };
  struct Warp {
    Lane lanes[WARP];
    WarpInstruction instruction = nullptr;
    int arrived = 0;
  };

  std::vector<Fiber> fibers_;
  std::vector<Warp> warps_;
  std::vector<int> ready_;
  uint64_t random_;
  jmp_buf scheduler_;
  void (*kernel_)(const void*) = nullptr;
  const void* arguments_ = nullptr;
  int finished_ = 0, at_barrier_ = 0;

 public:
  GlobalMemory global;
  SharedMemory shared;
  Banks banks;
  int thread = 0;
  unsigned index = 0, rank = 0;  // in the grid, in the cluster
  Cluster* cluster = nullptr;
  char message[256] = "";

  Block(int threads, unsigned seed) : fibers_(threads), warps_((threads + WARP - 1) / WARP), random_(seed) {}

  /// Makes all threads of the block ready to run.
  void start(unsigned block, size_t shared_bytes, void (*kernel)(const void*), const void* arguments) {
    index = block, kernel_ = kernel, arguments_ = arguments;
    finished_ = at_barrier_ = 0;
    shared.reset(shared_bytes);
    for (Warp& warp : warps_) warp = Warp{};
    ready_.clear();
    for (size_t t = 0; t < fibers_.size(); ++t) prepare(static_cast<int>(t));
  }

  bool is_ready() const { return !ready_.empty(); }

  /// Runs one of the ready threads until it waits, ends or fails.
  void step() {
    thread = take_ready();
    if (_setjmp(scheduler_) == 0) enter(fibers_[thread]);
  }

  /// Ends the block, of which no thread is ready; false if one failed or waits, with the reason in `message`.
  bool end() {
    if (message[0] == '\0' && finished_ < static_cast<int>(fibers_.size())) {
      std::snprintf(message, sizeof message, "block %u: some threads wait for others that never come", index);
    }
    banks.pass_barrier();
    return message[0] == '\0';
  }

  Copies& copies() { return fibers_[thread].copies; }

  /// Records an access of a thread, which `shared` has found to be in bounds, in the bank statistics.
  void pass_banks(Access kind, int by, const void* where, size_t bytes) {
    banks.note(kind, by, static_cast<const char*>(where) - shared.base(), bytes);
  }

  void barrier() {
    if (++at_barrier_ == static_cast<int>(fibers_.size())) {
      at_barrier_ = 0;
      shared.pass_barrier();
      banks.pass_barrier();
      wake_all();
    }
    pause();
  }

  void cluster_barrier();

  /// All threads of the cluster have arrived.
  void pass_cluster_barrier() {
    shared.pass_cluster_barrier();
    banks.pass_barrier();
    for (Fiber& fiber : fibers_) fiber.stored_to_peer = false;
    wake_all();
  }

  /// Where a peer has what lies at `own` here, for a store of the running thread.
  char* in_peer(unsigned peer, void* own, size_t bytes);

  /// Joins the warp in an instruction; the last lane to arrive executes it for all.
  void join(WarpInstruction instruction, const void* in, void* out) {
    Warp& warp = warps_[thread / WARP];
    if (warp.arrived > 0 && warp.instruction != instruction) {
      fail("lanes of one warp in different instructions", in, 0);
    }
    warp.instruction = instruction;
    warp.lanes[thread % WARP] = {in, out, thread};
    if (++warp.arrived < WARP) return pause();
    warp.arrived = 0;
    instruction(warp.lanes);
    for (const Lane& lane : warp.lanes) {
      if (lane.thread != thread) wake(lane.thread);
    }
  }

  [[noreturn]] void stop(const char* what, const void* where, size_t bytes) {
    std::snprintf(message, sizeof message, "block %u, thread %d: %s (%zu bytes at %p)", index, thread, what,
                  bytes, where);
    _longjmp(scheduler_, 1);
  }

 private:
  void prepare(int t) {
    Fiber& fiber = fibers_[t];
    fiber.copies = Copies{};
    fiber.started = fiber.stored_to_peer = false;
    getcontext(&fiber.context);
    fiber.context.uc_stack.ss_sp = fiber.stack.get();
    fiber.context.uc_stack.ss_size = STACK_BYTES;
    fiber.context.uc_link = nullptr;
    makecontext(&fiber.context, &Block::live, 0);
    wake(t);
  }

  void enter(Fiber& fiber) {
    if (fiber.started) _longjmp(fiber.resume, 1);
    fiber.started = true;
    setcontext(&fiber.context);
  }

  static void live();

  void finish() {
    if (const void* const to = copies().in_flight()) stop("ends with copies in flight", to, 0);
    if (fibers_[thread].stored_to_peer) stop("ends with stores that no barrier of the cluster follows", nullptr, 0);
    ++finished_;
    _longjmp(scheduler_, 1);
  }

  void pause() {
    if (_setjmp(fibers_[thread].resume) == 0) _longjmp(scheduler_, 1);
  }

  void wake(int t) { ready_.push_back(t); }
  void wake_all() {
    for (size_t t = 0; t < fibers_.size(); ++t) wake(static_cast<int>(t));
  }

  int take_ready() {
    random_ = random_ * 6364136223846793005u + 1442695040888963407u;  // Knuth; <random> compiles slowly
    std::swap(ready_[(random_ >> 33) % ready_.size()], ready_.back());
    const int t = ready_.back();
    ready_.pop_back();
    return t;
  }
};

/// The running block: those of a cluster take turns, and clusters run one after the other.
inline Block* running = nullptr;

inline void Block::live() {
  running->kernel_(running->arguments_);
  running->finish();
}

inline void fail(const char* what, const void* where, size_t bytes) { running->stop(what, where, bytes); }

}  // namespace ks::host
