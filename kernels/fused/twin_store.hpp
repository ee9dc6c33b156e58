// From the tile's fp32 sums to Y: rounding, partial vectors, scattered runs.
#pragma once

#include <type_traits>

#include "twin_tile.hpp"

struct Range {
  int64_t begin, end;
};

template <class Element>
struct Target {
  Element* y;
  int64_t row_stride;
  int64_t vector_stride;
  bool whole_vectors;  // every vector of the tile lies in Y as it is
};

// `valid` results of each row lie in Y as runs of `run`, one every `stride`.
struct Runs {
  int rows;
  int64_t valid;
  int64_t run;
  int64_t stride;
};

template <class Element, int kRun>
inline void scatter_row(const float* from, Element* y, const Runs& runs) {
  const int64_t run = kRun ? kRun : runs.run;
  for (int64_t done = 0; done < runs.valid; done += run, y += runs.stride)
    for (int64_t offset = 0; offset < run; ++offset) y[offset] = Element::narrow(from[done + offset]);
}

template <class Element>
inline void scatter(const float* from, Element* y, int64_t row_stride, const Runs& runs) {
  for (int r = 0; r < runs.rows; ++r, from += kTileWidth, y += row_stride) {
    switch (runs.run) {
      case 1: scatter_row<Element, 1>(from, y, runs); break;
      case 2: scatter_row<Element, 2>(from, y, runs); break;
      case 4: scatter_row<Element, 4>(from, y, runs); break;
      case 8: scatter_row<Element, 8>(from, y, runs); break;
      default: scatter_row<Element, 0>(from, y, runs);
    }
  }
}

template <class Element>
inline void run_tile(TileKernel kernel, TileOperands tile, const Target<Element>& target, const Runs& runs) {
  if (std::is_same_v<Element, Fp32> && target.whole_vectors) {
    tile.out = reinterpret_cast<float*>(target.y);
    tile.out_row_stride = target.row_stride;
    tile.out_vector_stride = target.vector_stride;
    kernel(tile);
    return;
  }
  alignas(64) float sums[kTileRows * kTileWidth];
  tile.out = sums;
  tile.out_row_stride = kTileWidth;
  tile.out_vector_stride = kLanes;
  kernel(tile);
  scatter(sums, target.y, target.row_stride, runs);
}
