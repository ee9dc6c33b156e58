// Splits a problem into items of work and distributes them among threads.
#pragma once

#include <algorithm>
#include <cstdlib>
#include <memory>
#include <type_traits>
#include <vector>

#include "twin_tile.hpp"

// The pattern of the product.
struct Shape {
  int64_t a, b, c, d;
  int64_t rows() const { return a * b * d; }
  int64_t columns() const { return a * c * d; }
};

// The tile sizes of a problem, within the compiled limits (`kswatch_twin_tile`).
struct Tile {
  int32_t rows;        // rows of a register tile, a power of two
  int32_t vectors;     // vectors of a register tile
  int32_t block_rows;  // batch entries for which X is packed at once, in batch_first; 0 for as many as fit
  int32_t period;      // maximum number of neighbouring j's that share a vector, a power of two
};

// The entries of a batch; in `batch_last`, also the elements from one feature to the next in X and in Y, which
// are more than the entries where those are a part of a larger batch.
struct Batch {
  int64_t size, x_pitch, y_pitch;
  static Batch whole(int64_t size) { return {size, size, size}; }
};

struct Range {
  int64_t begin, end;
  int64_t size() const { return end - begin; }
};

// Quotient and remainder; a 64-bit division takes as long as a hundred multiplications.
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

// Memory for `count` words, aligned to a cache line; null if there is not enough memory.
inline Words allocate_words(int64_t count) {
  const size_t bytes = (size_t(count) * sizeof(float) + 127) / 64 * 64;
  return Words(static_cast<float*>(std::aligned_alloc(64, bytes)));
}

// A buffer that is kept between products, because new pages would cost more than a small product.
class Room {
  Words words_;
  int64_t size_ = 0;

 public:
  // Null if there is not enough memory.
  float* of(int64_t words) {
    if (size_ < words) {
      words_.reset();
      words_ = allocate_words(words);
      size_ = words_ ? words : 0;
    }
    return words_.get();
  }
};

// The calling thread's buffers: for what one item of work packs, and for weights that are packed for one
// call.
inline Room& room_of_thread() {
  static thread_local Room room;
  return room;
}
inline Room& weights_of_thread() {
  static thread_local Room room;
  return room;
}

// How a product is computed for any batch: a plan holds no weights.
struct Plan {
  Shape shape;
  Tile tile;
  int64_t depth;  // words in one sum over l
  int64_t words;  // words of the packed weights

  virtual ~Plan() = default;
  // Writes the weights to `packed` in the order in which tiles read them; false if there is not enough memory
  // for buffers. Where `transposed`, the weights have the shape (a, c, b, d).
  virtual bool pack(const void* weights, bool transposed, float* packed, int threads) const = 0;
  // False if there is not enough memory for buffers.
  virtual bool multiply(const float* packed, const void* x, void* y, const Batch& batch,
                        int threads) const = 0;
  // Whether tiles can read the weights where they lie, so that `multiply_in_place` is possible.
  virtual bool reads_in_place(const void*, bool) const { return false; }
  virtual bool multiply_in_place(const void*, bool, const void*, void*, const Batch&, int) const {
    return false;
  }
};

// Calls `work(item, room)` for every item of re-laying `words` words of weights, each thread with a buffer
// of `room_words`; false if there is not enough memory.
template <class Work>
bool for_each_part(int64_t items, int64_t words, int64_t room_words, int threads, const Work& work) {
  constexpr int64_t kWordsOfThread = 64 * 1024;  // starting a team takes as long as re-laying some thousands
  const int team = int(std::clamp<int64_t>(words / kWordsOfThread, 1, threads));
  bool enough_memory = true;
#pragma omp parallel num_threads(team) if (team > 1)
  {
    float* room = room_of_thread().of(room_words);
    if (!room) {
#pragma omp atomic write
      enough_memory = false;
    }
#pragma omp for schedule(static)
    for (int64_t item = 0; item < items; ++item)
      if (room) work(item, room);
  }
  return enough_memory;
}

// The items of work of a problem: blocks of the batch times parts of the output features.
struct Cut {
  int64_t blocks, parts, items;
  int64_t grain;  // neighbouring items that one thread should process
};

// Calls `work(item, next, room)` for every item, each thread with its own buffer of `words`; false if there
// is not enough memory. A thread takes a chunk of neighbouring items at a time and predicts the next item:
// after a chunk, the one that follows the chunks of all other threads; `items` or more if there is none.
template <class Work>
bool for_each_item(const Cut& cut, int threads, int64_t words, const Work& work) {
  const int64_t items = cut.items;
  const int64_t chunk = cut.grain * std::clamp<int64_t>(items / cut.grain / (16 * threads), 1, 8);
  const int team = int(std::min<int64_t>(threads, items));
  if (team == 1) {  // opening a team of one takes as long as a small product
    float* room = room_of_thread().of(words);
    for (int64_t item = 0; room && item < items; ++item) work(item, item + 1, room);
    return room;
  }
  bool enough_memory = true;
#pragma omp parallel num_threads(team)
  {
    float* room = room_of_thread().of(words);
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
