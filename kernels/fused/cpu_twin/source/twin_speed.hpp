// The speed of a register tile on operands in the first-level cache, and that of the registers alone.
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

// Multiplies and adds in registers alone, `steps` times on each thread: no product can be faster. Returns the
// number of operations.
inline double multiply_in_registers(int64_t steps, int threads) {
  constexpr int kSums = 12;  // as many as hide the latency of the instruction and fit 16 registers
  const volatile float half = 0.5f, unit = 1.0f;  // values that the compiler does not know
#pragma omp parallel num_threads(threads)
  {
    Vector sums[kSums];
    const Vector factor = Vector{} + half, term = Vector{} + unit;
    for (int index = 0; index < kSums; ++index) sums[index] = term * float(index);
    for (int64_t step = 0; step < steps; ++step)
#pragma GCC unroll 12
      for (int index = 0; index < kSums; ++index) sums[index] = sums[index] * factor + term;
    volatile float kept[kLanes];  // all lanes are used, or the compiler would leave out some
    for (const Vector& sum : sums)
      for (int lane = 0; lane < kLanes; ++lane) kept[lane] = sum[lane];
  }
  return 2.0 * kSums * kLanes * double(steps) * threads;
}
