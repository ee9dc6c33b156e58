// The memory of an emulated GPU: every access is checked; shared memory records its readers and writers.
#pragma once

#include <cstdint>
#include <cstdio>
#include <cstring>
#include <vector>

namespace ks::host {

/// Ends the launch with a message; never returns. Defined in host_block.hpp.
[[noreturn]] void fail(const char* what, const void* where, size_t bytes);

/// An array in global memory that the kernel may access.
struct Array {
  char* base;
  uint64_t bytes;
  int writable;
};

class GlobalMemory {
  std::vector<Array> arrays_;

 public:
  void hold(const Array* arrays, int count) { arrays_.assign(arrays, arrays + count); }

  void check(const void* where, size_t bytes, bool writes) const {
    const auto address = reinterpret_cast<uintptr_t>(where);
    if (address % bytes != 0) fail("misaligned access to global memory", where, bytes);
    const char* first = static_cast<const char*>(where);
    for (const Array& array : arrays_) {
      if (first < array.base || first + bytes > array.base + array.bytes) continue;
      if (writes && !array.writable) fail("write to an array that is only read", where, bytes);
      return;
    }
    fail(writes ? "write outside of every array" : "read outside of every array", where, bytes);
  }
};

#ifndef KS_GRAIN
#define KS_GRAIN 2  // bytes of the smallest element
#endif

/// Shared memory that records, for every KS_GRAIN bytes, the last writer and reader and the preceding barrier.
///
/// Two accesses of different threads to the same bytes without a barrier in between, at least one of them
/// a write, are a race, whatever the order in which the threads run here. Threads of another block of the cluster
/// have numbers from PEER on; they only write, and only a barrier of the cluster orders these writes.
class SharedMemory {
  static constexpr int NOBODY = -1, SEVERAL = -2;
  static constexpr size_t GRAIN = KS_GRAIN;
  struct Touch {
    int writer = NOBODY, reader = NOBODY;
    unsigned written = 0, read = 0;  // epochs, which count the barriers so far
  };
  std::vector<Touch> touches_;
  std::vector<char> storage_;
  char* base_ = nullptr;
  size_t bytes_ = 0;
  unsigned epoch_ = 1, cluster_epoch_ = 1;  // the latter began at the cluster's latest barrier

 public:
  static constexpr int PEER = 1 << 16;
  static constexpr int POISON = 0xff;  // NaN in every precision

  char* base() const { return base_; }

  void reset(size_t bytes) {
    storage_.assign(bytes + 16, static_cast<char>(POISON));
    base_ = storage_.data() + (16 - reinterpret_cast<uintptr_t>(storage_.data()) % 16) % 16;
    bytes_ = bytes;
    touches_.assign((bytes + GRAIN - 1) / GRAIN, Touch{});
    epoch_ = cluster_epoch_ = 1;
  }

  void pass_barrier() { ++epoch_; }
  void pass_cluster_barrier() { cluster_epoch_ = ++epoch_; }
  bool passed_cluster_barrier() const { return cluster_epoch_ > 1; }

  void note_read(const void* where, size_t bytes, int thread) {
    each_touch(where, bytes, [&](Touch& touch) {
      if (races(touch.writer, touch.written, thread)) {
        fail("race: reads what another thread writes, with no barrier between", where, bytes);
      }
      touch.reader = touch.read == epoch_ && touch.reader != thread ? SEVERAL : thread;
      touch.read = epoch_;
    });
  }

  void note_write(const void* where, size_t bytes, int thread) {
    each_touch(where, bytes, [&](Touch& touch) {
      if (races(touch.writer, touch.written, thread)) {
        fail("race: two threads write the same bytes, with no barrier between", where, bytes);
      }
      if (races(touch.reader, touch.read, thread)) {
        fail("race: writes what another thread reads, with no barrier between", where, bytes);
      }
      touch.writer = thread;
      touch.written = epoch_;
    });
  }

 private:
  /// Whether no barrier separates an access by `other` in an epoch from one by `thread` now.
  bool races(int other, unsigned epoch, int thread) const {
    if (other == NOBODY || other == thread) return false;
    return other >= PEER || thread >= PEER ? epoch >= cluster_epoch_ : epoch == epoch_;
  }

  template <class F>
  void each_touch(const void* where, size_t bytes, F f) {
    const ptrdiff_t first = static_cast<const char*>(where) - base_;
    if (first < 0 || first + bytes > bytes_) fail("access outside of shared memory", where, bytes);
    if (first % bytes != 0) fail("misaligned access to shared memory", where, bytes);
    for (size_t at = first / GRAIN; at * GRAIN < first + bytes; ++at) f(touches_[at]);
  }
};

/// The asynchronous copies of one thread. A copy takes effect when a wait covers it, not earlier; until
/// then its target is poisoned, since the GPU may write there at any time.
class Copies {
  struct Copy {
    void* to;
    const void* from;
    int bytes;
    bool valid;
  };
  std::vector<std::vector<Copy>> groups_{1};

 public:
  void start(void* to, const void* from, int bytes, bool valid) {
    std::memset(to, SharedMemory::POISON, bytes);
    groups_.back().push_back({to, from, bytes, valid});
  }

  void commit() { groups_.emplace_back(); }

  /// The target of a copy that no wait has covered; null if there is none.
  const void* in_flight() const {
    for (const auto& group : groups_) {
      if (!group.empty()) return group.front().to;
    }
    return nullptr;
  }

  /// Performs all but the newest `pending` closed groups; calls `landed` for each copy.
  template <class F>
  void wait(int pending, F landed) {
    while (static_cast<int>(groups_.size()) - 1 > pending) {
      for (const Copy& copy : groups_.front()) {
        landed(copy.to, copy.bytes);
        copy.valid ? std::memcpy(copy.to, copy.from, copy.bytes) : std::memset(copy.to, 0, copy.bytes);
      }
      groups_.erase(groups_.begin());
    }
  }
};

}  // namespace ks::host
