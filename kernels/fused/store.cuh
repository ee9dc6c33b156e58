// From the sums to Y: through shared memory, so that global writes are full sectors in both layouts.
#pragma once

#include "tile.cuh"

namespace ks {

/// Sums to shared memory, rounded to the storage type: [m][n] for batch_last, else [j][n][m], which
/// a warp, having one j at a time, writes without meeting a bank twice.
template <class T, class Sums, class E>
KS_DEVICE void gather(const Sums& sums, int js, E* tile) {
  sums.each_pair([&](int j, int m, int n, float first, float second) {
    if (j >= js) return;
    Vector<E, 2> pair;
    from_float(first, pair.at[0]);
    from_float(second, pair.at[1]);
    if constexpr (T::LAYOUT == batch_last) {
      store_shared(tile + m * T::Y_PITCH + n, pair);
    } else {
      E* const to = tile + j * T::Y_PLANE + n * T::Y_PITCH + m;
      store_shared(to, pair.at[0]);
      store_shared(to + T::Y_PITCH, pair.at[1]);
    }
  });
}

/// Neighbours in a row of batch_first's Y, from position q on; `row` is at its n in plane j = 0.
template <class T, int WIDTH, class E>
KS_DEVICE Vector<E, WIDTH> pick(const E* row, int q, int step) {
  if constexpr (T::J == 1) return load_shared<Vector<E, WIDTH>>(row + q);
  Vector<E, WIDTH> picked;
  int m = q / step, j = q % step;
  KS_UNROLL
  for (int u = 0; u < WIDTH; ++u) {
    picked.at[u] = load_shared<E>(row + j * T::Y_PLANE + m);
    if (++j == step) j = 0, ++m;
  }
  return picked;
}

/// The tile from shared memory to Y, all of it that exists.
template <class T, class E>
KS_DEVICE void scatter(const E* tile, const Arguments& g, const Place& at) {
  constexpr int WIDTH = T::VECTOR / sizeof(E);
  const int rows_left = g.b - at.k0;
  const Run<T> run{rows_left < T::BM ? rows_left : T::BM, g.d, at.js};
  const long long feature = (static_cast<long long>(at.i) * g.b + at.k0) * g.d + at.j0;
  const long long features = static_cast<long long>(g.a) * g.b * g.d;
  E* const y = static_cast<E*>(g.y);
  if constexpr (T::LAYOUT == batch_last) {
    share<T, T::BM, T::BN / WIDTH>([&](int m, int vector) {
      const int n = vector * WIDTH;
      if (m >= run.rows || at.n0 + n >= g.batch) return;
      E* const to = y + (feature + static_cast<long long>(m) * g.d) * g.batch + at.n0 + n;
      store_global(to, load_shared<Vector<E, WIDTH>>(tile + m * T::Y_PITCH + n));
    });
  } else {
    share<T, T::BN, T::BM * T::J / WIDTH>([&](int n, int vector) {
      const int q = vector * WIDTH;
      if (at.n0 + n >= g.batch || !run.has(q)) return;
      E* const to = y + (at.n0 + n) * features + feature + run.offset(q);
      store_global(to, pick<T, WIDTH>(tile + n * T::Y_PITCH, q, run.step()));
    });
  }
}

}  // namespace ks
