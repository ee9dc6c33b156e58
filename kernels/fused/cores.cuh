// CUDA cores: each thread keeps TM×TN sums of one j and adds outer products to them.
#pragma once

#include "tile.cuh"

namespace ks {

template <class E>
KS_DEVICE void load_four(const E* from, float* to) {
  const auto four = load_shared<Vector<E, 4>>(from);
  KS_UNROLL
  for (int u = 0; u < 4; ++u) to[u] = to_float(four.at[u]);
}

/// The sums of one thread; it owns groups of four rows and of four batch entries, spread over the
/// tile so that a warp's reads of X are contiguous.
template <class T>
class OnCores {
  using E = typename T::Element;
  static constexpr int COLUMNS = T::BN / T::TN, ROWS = T::BM / T::TM;  // threads across the tile
  static_assert(T::TM % 4 == 0 && T::TN % 4 == 0 && T::TJ == 1, "threads own groups of four");

  float sum[T::TM][T::TN] = {};
  int m0, n0, j;

  KS_DEVICE int row(int u) const { return m0 + u / 4 * (4 * ROWS) + u % 4; }
  KS_DEVICE int column(int u) const { return n0 + u / 4 * (4 * COLUMNS) + u % 4; }

 public:
  KS_DEVICE OnCores() {
    const int t = thread_index();
    n0 = t % COLUMNS * 4;
    m0 = t / COLUMNS % ROWS * 4;
    j = t / (COLUMNS * ROWS);
  }

  /// Adds one step: weights [j][l][m], X [j][l][n].
  KS_DEVICE void step(const E* w, const E* x, int js) {
    if (j >= js) return;
    w += j * T::BK * T::BM;
    x += j * T::X_PLANE;
    KS_UNROLL_BY(2)
    for (int l = 0; l < T::BK; ++l) {
      float ws[T::TM], xs[T::TN];
      KS_UNROLL
      for (int u = 0; u < T::TM; u += 4) load_four(w + l * T::BM + row(u), ws + u);
      KS_UNROLL
      for (int u = 0; u < T::TN; u += 4) load_four(x + l * T::X_PITCH + column(u), xs + u);
      KS_UNROLL
      for (int m = 0; m < T::TM; ++m) {
        KS_UNROLL
        for (int n = 0; n < T::TN; ++n) sum[m][n] += ws[m] * xs[n];
      }
    }
  }

  /// Calls f(j, m, n, first, second) for every two sums that are neighbours in n.
  template <class F>
  KS_DEVICE void each_pair(F f) const {
    KS_UNROLL
    for (int m = 0; m < T::TM; ++m) {
      KS_UNROLL
      for (int n = 0; n < T::TN; n += 2) f(j, row(m), column(n), sum[m][n], sum[m][n + 1]);
    }
  }
};

}  // namespace ks
