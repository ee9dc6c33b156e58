// How a problem is cut up, and its weights re-laid once for that.
#pragma once

#include <algorithm>
#include <cstdlib>
#include <memory>
#include <vector>

#include "twin_tile.hpp"

struct Shape {
  int64_t a, b, c, d, batch;
  int64_t rows() const { return a * b * d; }
  int64_t columns() const { return a * c * d; }
};

struct FreeAligned {
  void operator()(float* memory) const { std::free(memory); }
};
using Words = std::unique_ptr<float[], FreeAligned>;

// Room for `count` words at the start of a cache line; null when memory is short.
inline Words allocate_words(int64_t count) {
  const size_t bytes = (size_t(count) * sizeof(float) + 127) / 64 * 64;
  return Words(static_cast<float*>(std::aligned_alloc(64, bytes)));
}

inline int64_t divide_up(int64_t value, int64_t by) { return (value + by - 1) / by; }

// Neighbouring j's that share a vector: `period` of them, from `first_j`.
struct Group {
  int64_t first_j;
  int period;
};

// At most kTileVectors vectors of the features (k, j), j fastest, of one group.
struct Panel {
  Group group;
  int64_t first_vector;
  int vectors;
  int64_t offset;  // in the packed weights of one i
};

// d as full vectors, then falling powers of two: every d is served without padding.
inline std::vector<Group> groups_of(int64_t d) {
  std::vector<Group> groups;
  int period = kLanes;
  for (int64_t j = 0; j < d; j += period) {
    while (period > d - j) period /= 2;
    groups.push_back({j, period});
  }
  return groups;
}

// Even shares of at most kTileVectors vectors each, appended to `panels`.
inline void append_panels(const Group& group, int64_t total_vectors, int64_t depth, std::vector<Panel>& panels) {
  const int64_t count = divide_up(total_vectors, kTileVectors);
  int64_t offset = panels.empty() ? 0 : panels.back().offset + panels.back().vectors * depth * kLanes;
  for (int64_t index = 0; index < count; ++index) {
    const int64_t first = index * total_vectors / count;
    const int vectors = int((index + 1) * total_vectors / count - first);
    panels.push_back({group, first, vectors, offset});
    offset += vectors * depth * kLanes;
  }
}

struct Plan {
  Shape shape;
  int64_t depth;  // words in one sum over l
  std::vector<Panel> panels;
  int64_t packed_per_i;
  Words packed;

  virtual ~Plan() = default;
  // False when memory is short.
  virtual bool multiply(const void* x, void* y, int threads) const = 0;
};

template <class Math, class Element>
inline float word_at(const Element* first, int64_t stride, int64_t l, int64_t c) {
  const Element second = l + 1 < c ? first[stride] : Element{};
  return Math::word(*first, second);
}
