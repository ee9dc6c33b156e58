// The register tile: a few broadcast rows times a few vectors, summed over l.
#pragma once

#include <algorithm>

#include "twin_element.hpp"

constexpr int kTileRows = kLanes == 16 ? 8 : 4;
constexpr int kTileVectors = 3;
constexpr int kTileWidth = kTileVectors * kLanes;

// Maximum number of neighbouring j's that share a vector. With 16, every row would need a full load, which
// was measured to be a fifth slower than two halves.
constexpr int kLongestPeriod = kLanes < 8 ? kLanes : 8;

// Repeats kPeriod floats over all lanes: the vector runs along (k, j) with j fastest, so the same
// neighbouring j's of X are multiplied with every k without a transposition.
template <int kPeriod>
inline Vector repeat(const float* from) {
  Vector value;
  for (int lane = 0; lane < kLanes; ++lane) value[lane] = from[lane % kPeriod];
  return value;
}
#if defined(__AVX512F__)
template <>
inline Vector repeat<1>(const float* from) {
  return (Vector)_mm512_set1_ps(*from);
}
template <>
inline Vector repeat<2>(const float* from) {
  double two;
  std::memcpy(&two, from, sizeof two);
  return (Vector)_mm512_castpd_ps(_mm512_set1_pd(two));
}
template <>
inline Vector repeat<4>(const float* from) {
  return (Vector)_mm512_broadcast_f32x4(_mm_loadu_ps(from));
}
template <>
inline Vector repeat<8>(const float* from) {
  return (Vector)_mm512_castpd_ps(_mm512_broadcast_f64x4(_mm256_loadu_pd((const double*)from)));
}
#elif defined(__AVX__)
template <>
inline Vector repeat<1>(const float* from) {
  return (Vector)_mm256_broadcast_ss(from);
}
template <>
inline Vector repeat<2>(const float* from) {
  double two;
  std::memcpy(&two, from, sizeof two);
  return (Vector)_mm256_castpd_ps(_mm256_set1_pd(two));
}
template <>
inline Vector repeat<4>(const float* from) {
  return (Vector)_mm256_broadcast_ps((const __m128*)from);
}
template <>
inline Vector repeat<8>(const float* from) {
  return *reinterpret_cast<const Vector*>(from);
}
#endif

// Prefetches the cache lines of X for the next item while the current one multiplies.
//
// Functions that only prefetch are force-inlined: GCC assumes that they have no effect and removes calls
// of them.
struct Ahead {
  const char* row;      // row of the next line
  int64_t row_bytes;    // distance between rows
  int64_t run_bytes;    // bytes to prefetch in each row
  int64_t piece_bytes;  // distance between lines of a row
  int64_t left;         // remaining lines in all rows
  int64_t offset = 0;   // offset of the next line in its row

  __attribute__((always_inline)) void fetch(int64_t lines) {
    lines = std::min(lines, left);
    left -= lines;
    for (; lines > 0; --lines) {
      __builtin_prefetch(row + offset, 0, 2);
      offset += piece_bytes;
      const bool over = offset >= run_bytes;  // selects instead of a branch, which is mispredicted once per row
      row += over ? row_bytes : 0;
      offset = over ? 0 : offset;
    }
  }
};

// The operands of a tile. `panel` has the shape (depth, vectors, kLanes) without gaps; `rows` holds
// kPeriod words for each step of depth.
template <class Element>
struct TileOperands {
  const float* panel;
  const float* rows;
  int64_t row_stride;
  int64_t depth;
  Ahead* ahead;
  int64_t lines;  // lines of `ahead` to prefetch per chunk of steps
  Element* out = nullptr;
  int64_t out_row_stride = 0;
};

// Steps after which a tile prefetches more lines of X and of its own part of Y: prefetched all at once, they
// would delay each other.
constexpr int64_t kChunk = 8;

template <class Element, int kRows, int kVectors, int kPeriod>
void multiply_tile(const TileOperands<Element> tile) {
  using Math = typename MathOf<Element>::Type;
  Vector sums[kRows][kVectors] = {};
  const float* panel = tile.panel;
  const float* rows = tile.rows;
  constexpr int kAtOnce = kRows > 1 ? 2 : 1;
  Element* coming = tile.out;
  int asked = 0;
  for (int64_t left = tile.depth; left > 0; left -= kChunk) {
    tile.ahead->fetch(tile.lines);
    if (asked < kRows) {
#pragma GCC unroll 2
      for (int r = 0; r < kAtOnce; ++r, coming += tile.out_row_stride)
#pragma GCC unroll 8
        for (int v = 0; v < kVectors; ++v) __builtin_prefetch(coming + v * kLanes, 1, 3);
      asked += kAtOnce;
    }
    for (int64_t step = std::min(left, kChunk); step > 0; --step) {
      Vector columns[kVectors];
#pragma GCC unroll 8
      for (int v = 0; v < kVectors; ++v) columns[v] = *reinterpret_cast<const Vector*>(panel + v * kLanes);
#pragma GCC unroll 8
      for (int r = 0; r < kRows; ++r) {
        const Vector row = repeat<kPeriod>(rows + r * tile.row_stride);
#pragma GCC unroll 8
        for (int v = 0; v < kVectors; ++v) sums[r][v] = Math::add_product(sums[r][v], columns[v], row);
      }
      panel += kVectors * kLanes;
      rows += kPeriod;
    }
  }
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r)
#pragma GCC unroll 8
    for (int v = 0; v < kVectors; ++v) store(sums[r][v], tile.out + r * tile.out_row_stride + v * kLanes);
}

template <class Element>
using TileKernel = void (*)(TileOperands<Element>);

template <class Element, int kRows, int kPeriod>
TileKernel<Element> kernel_of_vectors(int vectors) {
  static const TileKernel<Element> kernels[] = {
      multiply_tile<Element, kRows, 1, kPeriod>,
      multiply_tile<Element, kRows, 2, kPeriod>,
      multiply_tile<Element, kRows, 3, kPeriod>,
  };
  return kernels[vectors - 1];
}

template <class Element, int kPeriod>
TileKernel<Element> kernel_of_rows(int rows, int vectors) {
  if (rows >= 8 && kTileRows >= 8) return kernel_of_vectors<Element, kTileRows, kPeriod>(vectors);
  if (rows >= 4) return kernel_of_vectors<Element, 4, kPeriod>(vectors);
  if (rows >= 2) return kernel_of_vectors<Element, 2, kPeriod>(vectors);
  return kernel_of_vectors<Element, 1, kPeriod>(vectors);
}

// The kernel for a number of rows that `rows_taken` returned.
template <class Element>
TileKernel<Element> choose_kernel(int rows, int vectors, int period) {
  switch (period) {
    case 1: return kernel_of_rows<Element, 1>(rows, vectors);
    case 2: return kernel_of_rows<Element, 2>(rows, vectors);
    case 4: return kernel_of_rows<Element, 4>(rows, vectors);
    default: return kernel_of_rows<Element, kLongestPeriod>(rows, vectors);
  }
}

// The number of the remaining rows that the next tile computes, at most `most`.
inline int rows_taken(int64_t rows, int most) {
  while (most > rows) most /= 2;
  return most;
}
