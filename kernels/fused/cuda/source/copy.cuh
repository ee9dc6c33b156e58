// Copies from global to shared memory: the weights and X of one step along c.
#pragma once

#include "tile.cuh"

namespace ks {

/// Copies one vector, or zeros; one or two bytes are too small for an asynchronous copy.
template <int BYTES, class E>
KS_DEVICE void copy(E* to, const E* from, bool valid) {
  if constexpr (BYTES >= 4) {
    copy_async<BYTES>(to, from, valid);
  } else {
    using Few = Vector<E, BYTES / sizeof(E)>;
    store_shared<Few>(to, valid ? load_global<Few>(from) : Few{});
  }
}

/// The copies of one block; each thread issues its share of every step.
template <class T>
class Copies {
  using E = typename T::Element;
  static constexpr int WIDTH = T::VECTOR / sizeof(E);

  const Arguments& g;
  const int js;
  const E* x;  // the block's first feature and batch entry
  const E* w;

 public:
  KS_DEVICE Copies(const Arguments& g, const Place& at) : g(g), js(at.js) {
    const long long feature = static_cast<long long>(at.i) * g.c * g.d + at.j0;
    [[maybe_unused]] const long long features = static_cast<long long>(g.a) * g.c * g.d;
    x = static_cast<const E*>(g.x);
    x += T::LAYOUT == batch_last ? feature * g.batch + at.n0 : at.n0 * features + feature;
    w = static_cast<const E*>(g.w) + at.weights_offset;
  }

  /// Starts the copies of a step for `ns` batch entries at the offset `along` from the block's first entry:
  /// X to `stage`, followed by the weights unless they are RESIDENT.
  KS_DEVICE void issue(int step, long long along, int ns, E* stage) const {
    if constexpr (!T::RESIDENT) copy_weights(step, stage + T::X_ELEMENTS);
    if constexpr (T::LAYOUT == batch_last) {
      copy_features_by_batch(step * T::BK, along, ns, stage);
    } else {
      copy_batch_by_features(step * T::BK, along, ns, stage);
    }
  }

  /// Starts the copies of one step's weights.
  KS_DEVICE void copy_weights(int step, E* to) const {
    // In memory they have the layout of the tile, padded with zeros.
    const E* from = w + static_cast<long long>(step) * T::W_ELEMENTS;
    share<T, 1, T::W_ELEMENTS / T::UNIT>(
        [&](int, int unit) { copy<16>(to + unit * T::UNIT, from + unit * T::UNIT, true); });
  }

 private:
  /// batch_last: [l][n], n contiguous on both sides.
  KS_DEVICE void copy_features_by_batch(int l0, long long along, int ns, E* to) const {
    constexpr int PER_ROW = T::BN / WIDTH;
    share<T, T::BK, PER_ROW>([&](int l, int vector) {
      const int n = vector * WIDTH;
      const bool valid = l0 + l < g.c && n < ns;
      const E* from = x + static_cast<long long>(l0 + l) * g.d * g.batch + along + n;
      copy<T::VECTOR>(to + l * T::X_PITCH + n, valid ? from : x, valid);
    });
  }

  /// batch_first: [n][q], where q runs over (l, j); in a DIRECT row only over l.
  KS_DEVICE void copy_batch_by_features(int l0, long long along, int ns, E* to) const {
    constexpr int PER_ROW = T::BK * T::J / WIDTH;
    const long long features = static_cast<long long>(g.a) * g.c * g.d;
    const Run<T> run{g.c - l0 < T::BK ? g.c - l0 : T::BK, g.d, js};
    share<T, T::BN, PER_ROW>([&](int n, int vector) {
      const int q = vector * WIDTH;
      const bool valid = n < ns && run.has(q);
      const E* from = x + (along + n) * features + static_cast<long long>(l0) * g.d + run.offset(q);
      const int place = T::DIRECT ? swizzled<T>(n, q) : n * T::RAW_PITCH + q;
      copy<T::VECTOR>(to + place, valid ? from : x, valid);
    });
  }
};

/// Transposes X in shared memory: from [n][l][j], the order of batch_first, to [j][l][n].
///
/// A thread gathers 16 bytes along n for one (l, j) and writes them in one access; neighbouring threads
/// process neighbouring (l, j), so neither reads nor writes have bank conflicts.
template <class T, class E>
KS_DEVICE void turn(const E* raw, E* turned, int js) {
  using Gathered = Vector<E, T::UNIT>;
  const int step = T::FLAT ? js : T::J;  // FLAT: one group holds all d of them
  share<T, T::BN / T::UNIT, T::BK * T::J>([&](int unit, int position) {
    const int n = unit * T::UNIT, l = position / T::J, j = position % T::J;
    if (j >= js) return;
    Gathered gathered;
    KS_UNROLL
    for (int u = 0; u < T::UNIT; ++u) {
      gathered.at[u] = load_shared<E>(raw + (n + u) * T::RAW_PITCH + l * step + j);
    }
    store_shared(turned + j * T::X_PLANE + l * T::X_PITCH + n, gathered);
  });
}

}  // namespace ks
