// The speed of a register tile on operands in the first-level cache.
#pragma once

#include <ctime>

#include "twin_store.hpp"

inline double thread_nanoseconds() {
  timespec time;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return 1e9 * double(time.tv_sec) + double(time.tv_nsec);
}

// Products of vectors per nanosecond, in the fastest of several trials; 0 if there is not enough memory.
template <class Element>
double speed_of_tile(int rows, int vectors, int period) {
  constexpr int64_t kDepth = 64, kProducts = 64 * 1024;
  constexpr int kTrials = 7;
  const int64_t row_stride = kDepth * period + kLanes;
  rows = rows_taken(rows, rows, vectors);
  const Words panel = allocate_words(kDepth * vectors * kLanes), x = allocate_words(rows * row_stride);
  const Words y = allocate_words(rows * kTileWidth);
  if (!panel || !x || !y) return 0;
  std::fill_n(panel.get(), kDepth * vectors * kLanes, 0.0f);
  std::fill_n(x.get(), rows * row_stride, 0.0f);
  Ahead ahead{};
  TileOperands<Element> operands{panel.get(), x.get(), row_stride, period, kDepth, &ahead};
  operands.out = reinterpret_cast<Element*>(y.get());
  operands.out_row_stride = kTileWidth;
  const TileKernel<Element> kernel = choose_kernel<Element>(rows, vectors, period);
  const int64_t products = kDepth * rows * vectors, calls = divide_up(kProducts, products);
  double best = 1e30;
  for (int trial = 0; trial < kTrials; ++trial) {
    const double started = thread_nanoseconds();
    for (int64_t call = 0; call < calls; ++call) kernel(operands);
    best = std::min(best, thread_nanoseconds() - started);
  }
  return double(products * calls) / best;
}
