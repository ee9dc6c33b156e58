// Two factors in one launch: Y = K2 K1 X, where the intermediate K1 X of a batch tile stays in shared memory.
#pragma once

#include "copy.cuh"
#include "families.cuh"

namespace ks {

/// The parameter of the kernel, which cuda_chain/launch.py packs: `first` has X, `second` bias and Y.
struct ChainArguments {
  Arguments first, second;
  long long shares;  // blocks that share the rows of Y of one batch tile
  long long held;    // in clusters: groups of the second factor's j's whose intermediate a block has
};

/// The tile of the second factor, whose X is the intermediate: n is innermost in either layout.
template <class T>
struct FromIntermediate : T {
  static constexpr bool DIRECT = false, TURNED = false;
  static constexpr bool BY_WORDS = T::FAMILY == tensor_cores && sizeof(typename T::Element) == 4;
  static constexpr int GAP = BY_WORDS ? 8 : T::UNIT;
  static constexpr int X_PITCH = T::BN + GAP;
};

/// The intermediate, rounded to the storage type: for each (i, j) of the second factor its c columns, one
/// after the other, padded with zeros to whole steps. Neighbouring features lie in neighbouring planes where
/// d > 1; GAP between planes, as between rows, keeps the stores of a warp in different banks.
template <class T>
class Intermediate {
  using E = typename T::Element;

 protected:
  E* const rows;
  const int a, c, d, padded;

 public:
  KS_DEVICE Intermediate(const ChainArguments& g, E* rows)
      : rows(rows), a(g.second.a), c(g.second.c), d(g.second.d), padded(tiles_in(c, T::BK) * T::BK) {}

  KS_DEVICE int plane() const { return padded * T::X_PITCH + T::GAP; }

  /// The first column of a matrix of the second factor.
  KS_DEVICE E* columns(int i, int j) const { return rows + (i * d + j) * plane(); }

  /// Stores values of a feature from batch entry n on.
  template <class V>
  KS_DEVICE void put(int feature, int n, V values) const {
    const int l = feature / d;
    store_shared(columns(l / c, feature % d) + l % c * T::X_PITCH + n, values);
  }

  /// Writes zeros to the columns that only fill up the last step.
  KS_DEVICE void clear_padding() const {
    clear_padding([&] { return a * d; });
  }

 protected:
  /// The same for planes() of them.
  template <class F>
  KS_DEVICE void clear_padding(F planes) const {
    constexpr int UNITS = T::BN / T::UNIT;
    const int each = (padded - c) * UNITS;
    for (int v = thread_index(); v < planes() * each; v += T::THREADS) {
      E* const row = rows + v / each * plane() + (c + v % each / UNITS) * T::X_PITCH;
      store_shared(row + v % UNITS * T::UNIT, Words{});
    }
  }
};

/// Where a tile of the first factor's sums goes: takes the place of Y.
template <class E, class Held>
struct IntermediateTile {
  using Element = E;
  static constexpr bool ALONG_N = true;

  const Held& intermediate;
  const Arguments& first;
  const Place& at;

  KS_DEVICE void put_pair(int j, int m, int n, float low, float high) const {
    Vector<Element, 2> pair;
    from_float(low, pair.at[0]);
    from_float(high, pair.at[1]);
    put(j, m, n, pair);
  }
  template <int COUNT>
  KS_DEVICE void put_group(int j, int m, int n, Vector<Element, COUNT> group) const {
    put(j, m, n, group);
  }

 private:
  template <class V>
  KS_DEVICE void put(int j, int m, int n, V values) const {
    if (at.k0 + m >= first.b) return;
    const int feature = (at.i * first.b + at.k0 + m) * first.d + at.j0 + j;
    intermediate.put(feature, n, values);
  }
};

/// The features of the intermediate that a share of the second factor's tiles reads: those of the i's from
/// `begin` to `end`; of a single i only those of its j's from j_begin to j_end.
struct Needs {
  int begin, end, j_begin, j_end, d;

  /// Whether some of `count` neighbouring features from `feature` on may be among them.
  KS_DEVICE bool any(int feature, int count) const {
    if (feature + count <= begin || feature >= end) return false;
    const int j = feature % d;
    return count >= d || (j < j_end && j + count > j_begin) || j + count > d + j_begin;
  }
};

/// All features.
struct Everything {
  KS_DEVICE bool any(int, int) const { return true; }
};

/// A block's way through tiles of one factor, step by step along c; tiles that are not needed are left out.
template <class T, class Needed>
class Walk {
  const Arguments& g;
  Needed needed;
  int tile, end;

 public:
  const int steps;
  int step = 0;
  Place at;

  KS_DEVICE Walk(const Arguments& g, long long n0, int tile, int end, Needed needed)
      : g(g), needed(needed), tile(tile), end(end), steps(tiles_in(g.c, T::BK)) {
    at.part = 0;
    at.n0 = n0;
    at.ns = batch_entries<T>(g, n0);
    find();
  }

  KS_DEVICE bool more() const { return tile < end; }
  KS_DEVICE void next_tile() { ++tile, step = 0, find(); }
  KS_DEVICE void next_step() {
    if (++step == steps) next_tile();
  }

 private:
  /// Finds the first needed tile from `tile` on; they are numbered as weight_layout.py lays out weights.
  KS_DEVICE void find() {
    const int k_tiles = tiles_in(g.b, T::BM), groups = tiles_in(g.d, T::J);
    for (; tile < end; ++tile) {
      const int matrices = tile / k_tiles;
      at.i = matrices / groups;
      at.j0 = matrices % groups * T::J;
      at.k0 = tile % k_tiles * T::BM;
      at.js = g.d - at.j0 < T::J ? g.d - at.j0 : T::J;
      at.weights_offset = static_cast<long long>(tile) * steps * T::W_ELEMENTS;
      const int rows = g.b - at.k0 < T::BM ? g.b - at.k0 : T::BM;
      if (needed.any((at.i * g.b + at.k0) * g.d + at.j0, (rows - 1) * g.d + at.js)) return;
    }
  }
};

}  // namespace ks
