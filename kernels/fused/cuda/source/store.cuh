// Writes the sums to Y through shared memory, so that global writes fill whole sectors in both layouts.
#pragma once

#include "tile.cuh"

namespace ks {

/// A tile of Y in shared memory, rounded to the storage type: [m][n] for batch_last, otherwise [j][n][m],
/// which a warp with a single j at a time writes without bank conflicts.
template <class T, class O>
struct Y {
  using Element = O;
  static constexpr bool ALONG_N = T::LAYOUT == batch_last;
  O* tile;

  KS_DEVICE O* at(int j, int m, int n) const {
    if constexpr (T::LAYOUT == batch_last) return tile + m * T::Y_PITCH + n;
    return tile + j * T::Y_PLANE + n * T::Y_PITCH + n / T::GROUP * T::Y_SKEW + m;
  }

  /// Writes two neighbours in n, the first of them even.
  KS_DEVICE void put_pair(int j, int m, int n, float first, float second) const {
    Vector<O, 2> pair;
    from_float(first, pair.at[0]);
    from_float(second, pair.at[1]);
    if constexpr (T::LAYOUT == batch_last) {
      store_shared(at(j, m, n), pair);
    } else {
      store_shared(at(j, m, n), pair.at[0]);
      store_shared(at(j, m, n + 1), pair.at[1]);
    }
  }

  /// Writes neighbours along the innermost axis.
  template <int COUNT>
  KS_DEVICE void put_group(int j, int m, int n, Vector<O, COUNT> group) const {
    store_shared(at(j, m, n), group);
  }

  /// Writes four neighbours in n, the first of them a multiple of four.
  KS_DEVICE void put_four(int j, int m, int n, const float (&values)[4]) const {
    Vector<O, 4> four;
    KS_UNROLL
    for (int u = 0; u < 4; ++u) from_float(values[u], four.at[u]);
    if constexpr (T::LAYOUT == batch_last) {
      store_shared(at(j, m, n), four);
    } else {
      KS_UNROLL
      for (int u = 0; u < 4; ++u) store_shared(at(j, m, n + u), four.at[u]);
    }
  }
};

/// Multiplies each row by its scale, where the precision has scales.
template <class T, class Sums>
KS_DEVICE void apply_scales(Sums& sums, const Arguments& g, const Place& at) {
  if constexpr (T::Precision::SCALED && !T::PARTED) {
    const float* scales = row_scales<T>(g) + (static_cast<long long>(at.i) * g.b + at.k0) * g.d + at.j0;
    sums.scale_rows([&](int j, int m) {
      if (j >= at.js || m >= g.b - at.k0) return 0.0f;
      return load_global<float>(scales + static_cast<long long>(m) * g.d + j);
    });
  }
}

/// Adds the bias of each row, if there is a bias.
template <class T, class Sums>
KS_DEVICE void add_bias(Sums& sums, const Arguments& g, const Place& at) {
  using E = typename T::Precision::Output;
  if (T::PARTED || g.bias == nullptr) return;
  const E* bias = static_cast<const E*>(g.bias) + (static_cast<long long>(at.i) * g.b + at.k0) * g.d + at.j0;
  sums.add_to_rows([&](int j, int m) {
    if (m >= g.b - at.k0 || j >= at.js) return typename T::Sum{};
    return to_sum(load_global<E>(bias + static_cast<long long>(m) * g.d + j));
  });
}

/// WIDTH neighbours in a row of Y in batch_first, from position q; `row` points to its n in plane j = 0.
template <class T, int WIDTH, class E>
KS_DEVICE Vector<E, WIDTH> pick(const E* row, int q, int step) {
  if constexpr (T::J == 1) return load_shared<Vector<E, WIDTH>>(row + q);
  Vector<E, WIDTH> picked;
  constexpr int EACH = WIDTH % T::J == 0 ? WIDTH / T::J : 1;
  if (EACH > 1 && step == T::J) {  // equally many from every j: read them with wide accesses
    KS_UNROLL
    for (int j = 0; j < T::J; ++j) {
      const auto some = load_shared<Vector<E, EACH>>(row + j * T::Y_PLANE + q / T::J);
      KS_UNROLL
      for (int u = 0; u < EACH; ++u) picked.at[u * T::J + j] = some.at[u];
    }
    return picked;
  }
  int m = q / step, j = q % step;
  KS_UNROLL
  for (int u = 0; u < WIDTH; ++u) {
    picked.at[u] = load_shared<E>(row + j * T::Y_PLANE + m);
    if (++j == step) j = 0, ++m;
  }
  return picked;
}

/// Copies the valid part of the tile from shared memory to Y.
template <class T, class O>
KS_DEVICE void scatter(const Y<T, O>& tile, const Arguments& g, const Place& at) {
  constexpr int WIDTH = T::VECTOR > sizeof(O) ? T::VECTOR / sizeof(O) : 1;
  const int rows_left = g.b - at.k0;
  const Run<T> run{rows_left < T::BM ? rows_left : T::BM, g.d, at.js};
  const long long feature = (static_cast<long long>(at.i) * g.b + at.k0) * g.d + at.j0;
  const long long features = static_cast<long long>(g.a) * g.b * g.d;
  O* const y = static_cast<O*>(g.y) + at.part * features * g.batch;
  if constexpr (T::LAYOUT == batch_last) {
    share<T, T::BM, T::BN / WIDTH>([&](int m, int vector) {
      const int n = vector * WIDTH;
      if (m >= run.rows || n >= at.ns) return;
      O* const to = y + (feature + static_cast<long long>(m) * g.d) * g.batch + at.n0 + n;
      store_global(to, load_shared<Vector<O, WIDTH>>(tile.at(0, m, n)));
    });
  } else {
    share<T, T::BN, T::BM * T::J / WIDTH>([&](int n, int vector) {
      const int q = vector * WIDTH;
      if (n >= at.ns || !run.has(q)) return;
      O* const to = y + (at.n0 + n) * features + feature + run.offset(q);
      store_global(to, pick<T, WIDTH>(tile.at(0, 0, n), q, run.step()));
    });
  }
}

}  // namespace ks
