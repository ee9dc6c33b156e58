// Stores a tile to Y: partial vectors, scattered runs.
#pragma once

#include "twin_plan.hpp"

// The positions of a tile's results in Y: `valid` per row, in runs of length `run` every `stride`.
template <class Element>
struct Target {
  Element* y;
  int rows;
  int64_t row_stride;
  int64_t valid;
  int64_t run;
  int64_t stride;
};

// kRun is the length of a run if it is a compile-time constant, else 0.
template <class Element, int kRun>
inline void scatter_row(const Element* __restrict from, Element* __restrict y,
                        const Target<Element>& target) {
  const int64_t run = kRun ? kRun : target.run;
  for (int64_t done = 0; done < target.valid; done += run, y += target.stride)
    std::memcpy(static_cast<void*>(y), from + done, size_t(run) * sizeof(Element));
}

template <class Element>
inline void scatter(const Element* from, const Target<Element>& target) {
  Element* y = target.y;
  for (int r = 0; r < target.rows; ++r, from += kTileWidth, y += target.row_stride) {
    switch (target.run) {
      case 1: scatter_row<Element, 1>(from, y, target); break;
      case 2: scatter_row<Element, 2>(from, y, target); break;
      case 4: scatter_row<Element, 4>(from, y, target); break;
      case 8: scatter_row<Element, 8>(from, y, target); break;
      default: scatter_row<Element, 0>(from, y, target);
    }
  }
}

// Prefetches the cache lines of Y that a tile's results will be written to, while the tile multiplies.
template <class Element>
__attribute__((always_inline)) inline void prefetch_target(const Target<Element>& target) {
  const int64_t line = 64 / int64_t(sizeof(Element));
  const bool one_run = target.run == target.valid;
  const int64_t span = one_run ? target.valid : target.valid / target.run * target.stride;
  const int64_t step = one_run ? line : std::max(target.stride, line);
  for (int r = 0; r < target.rows; ++r)
    for (int64_t offset = 0; offset < span; offset += step)
      __builtin_prefetch(target.y + r * target.row_stride + offset, 1, 3);
}

// In fp32, sums of more terms than this are added in blocks, as on CUDA cores, because the error of one chain
// grows with its length (1.1e-6 at 4,096 terms). With 16-bit operands it stays far below the rounding of Y. A
// step of complex numbers adds two terms.
constexpr int64_t kLongestSum = 1024, kBlock = 512;

// Multiplies a tile block by block and adds up the blocks in `tile.out`.
template <class Element>
inline void multiply_blocks(TileKernel<Element> kernel, const TileOperands<Element>& tile, int rows,
                            int vectors) {
  constexpr int64_t kSteps = kBlock / MathOf<Element>::Type::kProducts;
  alignas(64) Element sums[kTileRows * kTileWidth];
  TileOperands<Element> block = tile;
  block.depth = kSteps;
  kernel(block);
  block.out = sums;
  block.out_row_stride = kTileWidth;
  for (int64_t left = tile.depth - kSteps; left > 0; left -= kSteps) {
    block.panel += kSteps * vectors * kLanes;
    block.rows += kSteps * tile.step_stride;
    block.depth = std::min(left, kSteps);
    kernel(block);
    for (int r = 0; r < rows; ++r)
      for (int lane = 0; lane < vectors * kLanes; lane += kLanes) {
        Element* const total = tile.out + r * tile.out_row_stride + lane;
        store(load(total) + load(sums + r * kTileWidth + lane), total);
      }
  }
}

// The sums of one tile, in `tile.out`.
template <class Element>
inline void multiply_whole(TileKernel<Element> kernel, const TileOperands<Element>& tile, int rows,
                           int vectors) {
  if constexpr (std::is_same<Element, Fp32>::value || std::is_same<Element, Complex64>::value)
    if (tile.depth * MathOf<Element>::Type::kProducts > kLongestSum)
      return multiply_blocks(kernel, tile, rows, vectors);
  kernel(tile);
}

// Multiplies one tile and stores it to Y, directly from registers where Y takes whole vectors.
template <class Element>
inline void run_tile(TileKernel<Element> kernel, TileOperands<Element> tile, int vectors,
                     const Target<Element>& target) {
  if (target.run == vectors * kLanes) {
    tile.out = target.y;
    tile.out_row_stride = target.row_stride;
    multiply_whole(kernel, tile, target.rows, vectors);
    return;
  }
  prefetch_target(target);
  alignas(64) Element results[kTileRows * kTileWidth];
  tile.out = results;
  tile.out_row_stride = kTileWidth;
  multiply_whole(kernel, tile, target.rows, vectors);
  scatter(results, target);
}
