// From the sums to Y: through shared memory, so that global writes are full sectors in both layouts.
#pragma once

#include "tile.cuh"

namespace ks {

/// Sums to shared memory, rounded to the storage type: [m][n] for batch_last, else [n][m][j].
template <class T, class Sums, class E>
KS_DEVICE void gather(const Sums& sums, const Place& at, E* tile) {
  const int step = T::FLAT ? at.js : T::J;
  sums.each_pair([&](int j, int m, int n, float first, float second) {
    if (j >= at.js) return;
    Vector<E, 2> pair;
    from_float(first, pair.at[0]);
    from_float(second, pair.at[1]);
    if constexpr (T::LAYOUT == batch_last) {
      store_shared(tile + m * T::Y_PITCH + n, pair);
    } else {
      store_shared(tile + n * T::Y_PITCH + m * step + j, pair.at[0]);
      store_shared(tile + (n + 1) * T::Y_PITCH + m * step + j, pair.at[1]);
    }
  });
}

/// The tile from shared memory to Y, all of it that exists.
template <class T, class E>
KS_DEVICE void scatter(const E* tile, const Arguments& g, const Place& at) {
  constexpr int WIDTH = T::VECTOR / sizeof(E);
  constexpr int PER_ROW = (T::LAYOUT == batch_last ? T::BN : T::BM * T::J) / WIDTH;
  constexpr int ROWS = T::LAYOUT == batch_last ? T::BM : T::BN;
  const long long feature = (static_cast<long long>(at.i) * g.b + at.k0) * g.d + at.j0;
  const long long features = static_cast<long long>(g.a) * g.b * g.d;
  const int rows_left = g.b - at.k0;
  const Run<T> run{rows_left < T::BM ? rows_left : T::BM, g.d, at.js};
  E* const y = static_cast<E*>(g.y);
  share<T, ROWS, PER_ROW>([&](int row, int unit) {
    const int q = unit * WIDTH;
    const auto vector = load_shared<Vector<E, WIDTH>>(tile + row * T::Y_PITCH + q);
    if constexpr (T::LAYOUT == batch_last) {
      if (row >= run.rows || at.n0 + q >= g.batch) return;
      store_global(y + (feature + static_cast<long long>(row) * g.d) * g.batch + at.n0 + q, vector);
    } else {
      if (at.n0 + row >= g.batch || !run.has(q)) return;
      store_global(y + (at.n0 + row) * features + feature + run.offset(q), vector);
    }
  });
}

}  // namespace ks
