// The banks of shared memory: counts the passes of a warp's accesses, and the minimum number of passes.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace ks::host {

/// Kinds of accesses to shared memory; ldmatrix has its own kind, asynchronous copies are stores.
enum Access { LOADS, STORES, MATRICES, COPIES, ACCESS_KINDS };

/// Passes through the banks. Each of 32 banks of four bytes serves one word per pass; threads that access
/// the same word share it. Wide accesses are split into halves and quarters of a warp.
struct Traffic {
  uint64_t passes = 0, least = 0;
};

/// Groups the accesses of a warp's lanes by their number since the last barrier, which is correct only if
/// all lanes execute the same accesses: in tiles without partial rows or columns.
class Banks {
  static constexpr int LANES = 32, BANKS = 32;
  struct Wanted {
    int thread;
    size_t number, first, bytes;
  };
  std::vector<Wanted> wanted_[ACCESS_KINDS];
  std::vector<size_t> numbers_[ACCESS_KINDS];

 public:
  bool watching = false;
  Traffic traffic[ACCESS_KINDS];

  void note(Access kind, int thread, size_t first, size_t bytes) {
    if (!watching) return;
    auto& numbers = numbers_[kind];
    if (numbers.size() <= static_cast<size_t>(thread)) numbers.resize(thread + 1);
    wanted_[kind].push_back({thread, numbers[thread]++, first, bytes});
  }

  void pass_barrier() {
    for (int kind = 0; kind < ACCESS_KINDS; ++kind) {
      auto& wanted = wanted_[kind];
      std::sort(wanted.begin(), wanted.end(), [](const Wanted& a, const Wanted& b) {
        if (a.thread / LANES != b.thread / LANES) return a.thread / LANES < b.thread / LANES;
        return a.number != b.number ? a.number < b.number : a.thread < b.thread;
      });
      for (size_t from = 0, to; from < wanted.size(); from = to) {
        for (to = from; to < wanted.size() && together(wanted[from], wanted[to]);) ++to;
        count(traffic[kind], &wanted[from], &wanted[0] + to);
      }
      wanted.clear();
      numbers_[kind].clear();
    }
  }

 private:
  /// Whether two accesses belong to the same instruction and to lanes that are served in the same pass.
  static bool together(const Wanted& a, const Wanted& b) {
    const size_t lanes = a.bytes == 16 ? 8 : a.bytes == 8 ? 16 : LANES;
    return a.thread / LANES == b.thread / LANES && a.number == b.number &&
           a.thread % LANES / lanes == b.thread % LANES / lanes;
  }

  static void count(Traffic& traffic, const Wanted* from, const Wanted* to) {
    std::vector<size_t> words[BANKS];
    size_t passes = 1;
    for (; from < to; ++from) {
      for (size_t word = from->first / 4; word * 4 < from->first + from->bytes; ++word) {
        auto& bank = words[word % BANKS];
        if (std::find(bank.begin(), bank.end(), word) == bank.end()) bank.push_back(word);
        passes = std::max(passes, bank.size());
      }
    }
    traffic.passes += passes;
    traffic.least += 1;
  }
};

}  // namespace ks::host
