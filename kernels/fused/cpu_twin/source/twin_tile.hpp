// The register tile: a few broadcast rows times a few vectors, summed over l.
#pragma once

#include <algorithm>

#include "twin_element.hpp"

constexpr int kTileRows = kLanes == 16 ? 8 : 4;
constexpr int kTileVectors = kLanes == 16 ? 4 : 3;
constexpr int kTileWidth = kTileVectors * kLanes;

// Rows of a full tile of this many vectors: the sums of 8 × 3 or of 6 × 4, the vectors of a step and a row
// fit 32 registers.
constexpr int full_rows(int vectors) { return vectors > 3 ? 6 : kTileRows; }

// Maximum number of neighbouring j's that share a vector. With 16, every row would need a full load, which
// was measured to be a fifth slower than two halves.
constexpr int kLongestPeriod = kLanes < 8 ? kLanes : 8;

// Prefetches the cache lines of X for the next item while the current one multiplies.
//
// Functions that only prefetch are force-inlined: GCC assumes that they have no effect and removes calls
// of them.
struct Ahead {
  const char* next;     // next line
  int64_t left_in_row;  // lines of its row, with itself
  int64_t row_lines;    // lines of every row
  int64_t line_bytes;   // distance between lines of a row
  int64_t row_skip;     // bytes from behind the last line of a row to the next row
  int64_t lines;        // lines to prefetch per chunk of steps

  __attribute__((always_inline)) void fetch() {
    for (int64_t line = lines; line > 0; --line) {
      __builtin_prefetch(next, 0, 2);
      const bool last = --left_in_row == 0;  // selects instead of a branch, which is mispredicted once per row
      next += line_bytes + (last ? row_skip : 0);
      left_in_row = last ? row_lines : left_in_row;
    }
  }
};

// The operands of a tile. `panel` has the shape (depth, vectors, kLanes) without gaps; `rows` holds
// kPeriod words for each step of depth, `step_stride` words apart.
template <class Element>
struct TileOperands {
  const float* panel;
  const float* rows;
  int64_t row_stride;
  int64_t step_stride;
  int64_t depth;
  Ahead* ahead;
  Element* out = nullptr;
  int64_t out_row_stride = 0;
};

// Steps after which a tile prefetches more lines of X and of its own part of Y: prefetched all at once, they
// would delay each other.
constexpr int64_t kChunk = 8;

// One pass over the sums in one step.
template <class Math, int kPeriod, int kPass, int kRows, int kVectors>
__attribute__((always_inline)) inline void add_products(Vector (&sums)[kRows][kVectors], const float* panel,
                                                        const char* rows, int64_t row_bytes) {
  Vector columns[kVectors];
#pragma GCC unroll 8
  for (int v = 0; v < kVectors; ++v)
    columns[v] = Math::template column<kPass>(*reinterpret_cast<const Vector*>(panel + v * kLanes));
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r) {
    const Vector row = Math::template row<kPeriod, kPass>(reinterpret_cast<const float*>(rows + r * row_bytes));
#pragma GCC unroll 8
    for (int v = 0; v < kVectors; ++v) sums[r][v] = Math::add_product(sums[r][v], columns[v], row);
  }
}

template <class Element, int kRows, int kVectors, int kPeriod>
void multiply_tile(const TileOperands<Element>& tile) {
  using Math = typename MathOf<Element>::Type;
  Vector sums[kRows][kVectors] = {};
  const float* panel = tile.panel;
  const char* rows = reinterpret_cast<const char*>(tile.rows);
  const int64_t row_bytes = tile.row_stride * int64_t(sizeof(float));
  const int64_t step_bytes = tile.step_stride * int64_t(sizeof(float));
  constexpr int kAtOnce = kRows > 1 ? 2 : 1, kLines = (kVectors * kLanes * int(sizeof(Element)) + 63) / 64;
  const int64_t coming_bytes = tile.out_row_stride * int64_t(sizeof(Element));
  const char* coming = reinterpret_cast<const char*>(tile.out);
  int asked = 0;
  for (int64_t left = tile.depth; left > 0; left -= kChunk) {
    tile.ahead->fetch();
    if (asked < kRows) {
#pragma GCC unroll 2
      for (int r = 0; r < kAtOnce; ++r, coming += coming_bytes)
#pragma GCC unroll 8
        for (int line = 0; line < kLines; ++line) __builtin_prefetch(coming + line * 64, 1, 3);
      asked += kAtOnce;
    }
    for (int64_t step = std::min(left, kChunk); step > 0; --step) {
      add_products<Math, kPeriod, 0>(sums, panel, rows, row_bytes);
      if constexpr (Math::kPasses == 2) {
        asm volatile("" ::: "memory");  // or GCC would keep the operands of both passes
        add_products<Math, kPeriod, 1>(sums, panel, rows, row_bytes);
      }
      panel += kVectors * kLanes;
      rows += step_bytes;
    }
  }
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r)
#pragma GCC unroll 8
    for (int v = 0; v < kVectors; ++v) store(sums[r][v], tile.out + r * tile.out_row_stride + v * kLanes);
}

template <class Element>
using TileKernel = void (*)(const TileOperands<Element>&);

template <class Element, int kMostRows, int kVectors, int kPeriod>
constexpr TileKernel<Element> kernel_of() {
  return multiply_tile<Element, std::min(kMostRows, full_rows(kVectors)), kVectors, kPeriod>;
}

template <class Element, int kMostRows, int kPeriod>
TileKernel<Element> kernel_of_vectors(int vectors) {
  static constexpr TileKernel<Element> kernels[] = {
      kernel_of<Element, kMostRows, 1, kPeriod>(),
      kernel_of<Element, kMostRows, 2, kPeriod>(),
      kernel_of<Element, kMostRows, 3, kPeriod>(),
      kernel_of<Element, kMostRows, kTileVectors, kPeriod>(),
  };
  return kernels[vectors - 1];
}

template <class Element, int kPeriod>
TileKernel<Element> kernel_of_rows(int rows, int vectors) {
  if (rows >= 6 && kTileRows >= 8) return kernel_of_vectors<Element, kTileRows, kPeriod>(vectors);
  if (rows >= 4) return kernel_of_vectors<Element, 4, kPeriod>(vectors);
  if (rows >= 2) return kernel_of_vectors<Element, 2, kPeriod>(vectors);
  return kernel_of_vectors<Element, 1, kPeriod>(vectors);
}

// The kernel for a number of rows that `rows_taken` returned.
template <class Element>
TileKernel<Element> choose_kernel(int rows, int vectors, int period) {
  constexpr int kShortest = MathOf<Element>::Type::kUnit;
  switch (period) {
    case 1: return kernel_of_rows<Element, kShortest>(rows, vectors);
    case 2: return kernel_of_rows<Element, 2>(rows, vectors);
    case 4: return kernel_of_rows<Element, 4>(rows, vectors);
    default: return kernel_of_rows<Element, kLongestPeriod>(rows, vectors);
  }
}

// The number of the remaining rows that the next tile of `vectors` computes, at most `most`: a full tile, or
// the largest power of two.
inline int rows_taken(int64_t rows, int most, int vectors) {
  most = std::min(most, full_rows(vectors));
  if (most <= rows) return most;
  return rows >= 4 ? 4 : rows >= 2 ? 2 : 1;
}
