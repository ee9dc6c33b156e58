// A cluster of thread blocks on the CPU: its blocks take turns, in a random order determined by a seed.
#pragma once

#include <deque>

#include "host_block.hpp"

namespace ks::host {

class Cluster {
  uint64_t random_;
  size_t threads_;
  size_t arrived_ = 0;  // threads at the cluster's barrier

 public:
  std::deque<Block> blocks;

  Cluster(unsigned size, int threads, unsigned seed) : random_(seed), threads_(size * threads) {
    for (unsigned rank = 0; rank < size; ++rank) {
      Block& block = blocks.emplace_back(threads, seed + rank);
      block.rank = rank, block.cluster = this;
    }
  }

  /// Runs the blocks from number `first` on; returns the first defect, or null.
  const char* run(unsigned first, size_t shared_bytes, void (*kernel)(const void*), const void* arguments) {
    arrived_ = 0;
    for (Block& block : blocks) block.start(first + block.rank, shared_bytes, kernel, arguments);
    while ((running = choose()) != nullptr) {
      running->step();
      if (running->message[0] != '\0') return running->message;
    }
    for (Block& block : blocks) {
      if (!block.end()) return block.message;
    }
    return nullptr;
  }

  void arrive() {
    if (++arrived_ < threads_) return;
    arrived_ = 0;
    for (Block& block : blocks) block.pass_cluster_barrier();
  }

  void add_traffic(Traffic* to) const {
    for (const Block& block : blocks) {
      for (int kind = 0; kind < ACCESS_KINDS; ++kind) {
        to[kind].passes += block.banks.traffic[kind].passes;
        to[kind].least += block.banks.traffic[kind].least;
      }
    }
  }

 private:
  /// A block with a thread that is ready; null if there is none.
  Block* choose() {
    random_ = random_ * 6364136223846793005u + 1442695040888963407u;
    for (size_t n = 0; n < blocks.size(); ++n) {
      Block& block = blocks[((random_ >> 33) + n) % blocks.size()];
      if (block.is_ready()) return &block;
    }
    return nullptr;
  }
};

inline void Block::cluster_barrier() {
  cluster->arrive();
  pause();
}

inline char* Block::in_peer(unsigned peer, void* own, size_t bytes) {
  if (peer >= cluster->blocks.size()) stop("store to a block outside of the cluster", own, bytes);
  Block& owner = cluster->blocks[peer];
  char* const to = owner.shared.base() + (static_cast<char*>(own) - shared.base());
  if (peer == rank) {
    shared.note_write(to, bytes, thread);
    return to;
  }
  if (!owner.shared.passed_cluster_barrier()) stop("store to a block that may not have started", own, bytes);
  owner.shared.note_write(to, bytes, SharedMemory::PEER * (1 + static_cast<int>(rank)) + thread);
  fibers_[thread].stored_to_peer = true;
  return to;
}

}  // namespace ks::host
