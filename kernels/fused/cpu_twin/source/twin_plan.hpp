// How a problem is cut up and shared among threads.
#pragma once

#include <algorithm>
#include <cstdlib>
#include <memory>
#include <type_traits>
#include <vector>

#include "twin_tile.hpp"

struct Shape {
  int64_t a, b, c, d, batch;
  int64_t rows() const { return a * b * d; }
  int64_t columns() const { return a * c * d; }
  // Where W[i, k, l, j] lies.
  int64_t weight(int64_t i, int64_t k, int64_t l, int64_t j) const { return ((i * b + k) * c + l) * d + j; }
};

// How a problem is cut, within what the kernels were compiled for (`kswatch_twin_tile`).
struct Tile {
  int32_t rows;        // of a register tile, a power of two
  int32_t vectors;     // of a register tile
  int32_t block_rows;  // of the batch that one packing of X serves, in batch_first; 0 for as the cache has room
  int32_t period;      // the most neighbouring j's that share a vector, a power of two
};

struct Range {
  int64_t begin, end;
  int64_t size() const { return end - begin; }
};

// Quotient and remainder; a division of 64 bits takes as long as a hundred products.
struct Divided {
  int64_t quotient, remainder;
};
inline Divided divide(int64_t value, int64_t by) {
  if (uint64_t(value | by) >> 32 == 0) return {uint32_t(value) / uint32_t(by), uint32_t(value) % uint32_t(by)};
  return {value / by, value % by};
}

inline int64_t divide_up(int64_t value, int64_t by) { return (value + by - 1) / by; }

// The index-th of `count` even shares of a range.
inline Range share(Range whole, int64_t index, int64_t count) {
  if (count == 1) return whole;
  return {whole.begin + divide(index * whole.size(), count).quotient,
          whole.begin + divide((index + 1) * whole.size(), count).quotient};
}

struct FreeAligned {
  void operator()(float* memory) const { std::free(memory); }
};
using Words = std::unique_ptr<float[], FreeAligned>;

// Room for `count` words from the start of a cache line; null when memory is short.
inline Words allocate_words(int64_t count) {
  const size_t bytes = (size_t(count) * sizeof(float) + 127) / 64 * 64;
  return Words(static_cast<float*>(std::aligned_alloc(64, bytes)));
}

// Room that each thread keeps from product to product, since fresh pages would cost more than a
// small product; null when memory is short.
inline float* room_of_thread(int64_t words) {
  static thread_local Words room;
  static thread_local int64_t size = 0;
  if (size < words) {
    room = allocate_words(words);
    size = room ? words : 0;
  }
  return room.get();
}

struct Plan {
  Shape shape;
  Tile tile;
  int64_t depth;  // words in one sum over l
  Words packed;   // the weights as the tiles read them

  virtual ~Plan() = default;
  // False when memory is short.
  virtual bool multiply(const void* x, void* y, int threads) const = 0;
};

// A problem as items of work: blocks of the batch times parts of the output features.
struct Cut {
  int64_t blocks, parts, items;
  int64_t grain;  // neighbouring items that one thread should take together
};

// Calls `work(item, next, room)` for every item, each thread with its own room of `words`; false when
// memory is short. A thread takes a chunk of neighbours at a time and guesses which item comes next:
// after a chunk, the one that follows the chunks of all other threads; `items` or more where none does.
template <class Work>
bool for_each_item(const Cut& cut, int threads, int64_t words, const Work& work) {
  const int64_t items = cut.items;
  const int64_t chunk = cut.grain * std::clamp<int64_t>(items / cut.grain / (16 * threads), 1, 8);
  const int team = int(std::min<int64_t>(threads, items));
  bool enough_memory = true;
#pragma omp parallel num_threads(team)
  {
    float* room = room_of_thread(words);
    if (!room) {
#pragma omp atomic write
      enough_memory = false;
    }
#pragma omp for schedule(dynamic, chunk)
    for (int64_t item = 0; item < items; ++item)
      if (room) {
        const int64_t next = (item + 1) % chunk ? item + 1 : item + 1 + (team - 1) * chunk;
        work(item, next, room);
      }
  }
  return enough_memory;
}
