// One tile of the product: its sizes, its map of the shared memory, its place in the problem.
//
// Letters as in the paper: K has the pattern (a, b, c, d) and is a·d independent b×c matrices, one
// for each (i, j); Y = K X takes features x batch. A block computes BM of the b rows, for BN of the
// batch, for J neighbouring j's of one i, in steps of BK along c.
#pragma once

#include "precision.cuh"

namespace ks {

enum Layout { batch_first, batch_last };
enum Family { cores, tensor_cores };

/// The kernel's one parameter, as launch.py packs it.
struct Arguments {
  const void* x;
  const void* w;  // re-laid by weights.py
  void* y;
  long long batch;
  int a, b, c, d;
};

KS_DEVICE int tiles_in(int extent, int tile) { return (extent + tile - 1) / tile; }

/// Sizes that tiles.py chooses; tile.py also computes THREADS and SHARED_BYTES, and fused.cu compares.
///
/// FLAT: J >= d, so that a row's features of one i are a contiguous run; else segments of J of them.
/// TM, TN, TJ: what one thread (CUDA cores) or one warp (tensor cores) computes of the tile.
/// VECTOR: bytes per access to X and Y, which the pointers and strides allow.
template <Family FAMILY_, class Precision_, Layout LAYOUT_, int BM_, int BN_, int BK_, int J_, bool FLAT_,
          int TM_, int TN_, int TJ_, int STAGES_, int VECTOR_>
struct Tile {
  using Precision = Precision_;
  using Element = typename Precision::Element;
  static constexpr Family FAMILY = FAMILY_;
  static constexpr Layout LAYOUT = LAYOUT_;
  static constexpr int BM = BM_, BN = BN_, BK = BK_, J = J_, TM = TM_, TN = TN_, TJ = TJ_;
  static constexpr bool FLAT = FLAT_;
  static constexpr int STAGES = STAGES_, VECTOR = VECTOR_;

  static constexpr int UNIT = 16 / sizeof(Element);  // elements in the widest access
  static constexpr int WORKERS = (BM / TM) * (BN / TN) * (J / TJ);
  static constexpr int THREADS = WORKERS * (FAMILY == tensor_cores ? 32 : 1);
  /// Up to 64 sums leave a thread under 128 registers, so that more blocks share a multiprocessor.
  static constexpr int SUMS = BM * BN * J / THREADS;
  static constexpr int BLOCKS = 65536 / (THREADS * (SUMS > 64 ? 256 : 128));

  /// X comes as [n][l] and tensor cores take it so when one j is all there is; every other way to
  /// compute wants n innermost, so that batch_first is turned around in shared memory.
  static constexpr bool DIRECT = LAYOUT == batch_first && J == 1 && FAMILY == tensor_cores;
  static constexpr bool TURNED = LAYOUT == batch_first && !DIRECT;

  /// Pitches that keep a warp's accesses in different banks: an odd number of 16-byte units between
  /// rows, or 8 words where tf32 fragments are read word by word.
  static constexpr bool BY_WORDS = FAMILY == tensor_cores && sizeof(Element) == 4 && !DIRECT;
  static constexpr int X_PITCH = DIRECT ? BK + UNIT : BN + (BY_WORDS ? 8 : UNIT);
  static constexpr int X_PLANE = BK * X_PITCH + UNIT;  // from one j to the next
  static constexpr int RAW_PITCH = BK * J + UNIT;      // batch_first, before the turn: [n][l][j]
  static constexpr int Y_PITCH = (LAYOUT == batch_last ? BN : BM) + UNIT;
  static constexpr int Y_PLANE = BN * Y_PITCH + sizeof(Element);  // batch_first: from one j to the next

  static constexpr int W_ELEMENTS = J * BM * BK;
  static constexpr int X_ELEMENTS = TURNED ? BN * RAW_PITCH : (DIRECT ? BN : BK) * X_PITCH;
  static constexpr int STAGE_ELEMENTS = W_ELEMENTS + X_ELEMENTS;
  static constexpr int TURNED_ELEMENTS = TURNED ? J * X_PLANE : 0;
  static constexpr int Y_ELEMENTS = LAYOUT == batch_last ? BM * Y_PITCH : J * Y_PLANE;  // overlays the stages
  static constexpr int LOOP_ELEMENTS = STAGES * STAGE_ELEMENTS + TURNED_ELEMENTS;
  static constexpr int ELEMENTS = LOOP_ELEMENTS > Y_ELEMENTS ? LOOP_ELEMENTS : Y_ELEMENTS;
  static constexpr int SHARED_BYTES = sizeof(Element) * ELEMENTS;
  static_assert(BM % UNIT == 0 && BN % UNIT == 0 && BK * J % UNIT == 0, "rows are whole 16-byte units");
};

/// Where a block works: rows k0.. of the b, batch entries n0.., j's j0.. of the d, all of one i.
struct Place {
  int i, j0, k0;
  long long n0;
  int js;                    // how many of the J j's exist
  long long weights_offset;  // of the block's first weights, in elements
};

/// Blocks are numbered with k innermost: those that read the same X run together, so that X comes
/// from memory once; then along the batch, so that few weights are in use at a time.
template <class T>
KS_DEVICE Place place_of(const Arguments& g, unsigned block) {
  const unsigned k_tiles = tiles_in(g.b, T::BM);
  const unsigned n_tiles = static_cast<unsigned>((g.batch + T::BN - 1) / T::BN);
  const unsigned groups = tiles_in(g.d, T::J);
  const unsigned k = block % k_tiles, n = block / k_tiles % n_tiles;
  const unsigned matrices = block / k_tiles / n_tiles;
  Place at;
  at.i = matrices / groups;
  at.j0 = matrices % groups * T::J;
  at.k0 = k * T::BM;
  at.n0 = static_cast<long long>(n) * T::BN;
  at.js = g.d - at.j0 < T::J ? g.d - at.j0 : T::J;
  at.weights_offset = (static_cast<long long>(matrices) * k_tiles + k) * tiles_in(g.c, T::BK) * T::W_ELEMENTS;
  return at;
}

/// Calls f(row, column) for this thread's share of ROWS × COLUMNS, neighbouring columns by
/// neighbouring threads; where the sizes divide, a thread stays in its column.
template <class T, int ROWS, int COLUMNS, class F>
KS_DEVICE void share(F f) {
  constexpr int COUNT = ROWS * COLUMNS;
  KS_UNROLL_BY(2)  // more would keep more addresses than there are registers
  for (int u = 0; u < (COUNT + T::THREADS - 1) / T::THREADS; ++u) {
    const int v = thread_index() + u * T::THREADS;
    if (COUNT % T::THREADS != 0 && v >= COUNT) return;
    if constexpr (T::THREADS % COLUMNS == 0) {
      f(thread_index() / COLUMNS + u * (T::THREADS / COLUMNS), thread_index() % COLUMNS);
    } else {
      f(v / COLUMNS, v % COLUMNS);
    }
  }
}

/// A stretch of one row of batch_first's features: `rows` rows or columns of K, for the block's j's.
/// Position q counts them as they stand in shared memory, without gaps.
template <class T>
struct Run {
  int rows, d, js;

  /// Positions from one row or column of K to the next.
  KS_DEVICE int step() const { return T::FLAT ? (T::J == 1 ? 1 : d) : T::J; }
  KS_DEVICE bool has(int q) const {
    if constexpr (T::FLAT) return q < rows * step();
    return q / T::J < rows && q % T::J < js;
  }
  /// Elements from the stretch's first feature in the tensor.
  KS_DEVICE int offset(int q) const {
    if constexpr (T::FLAT) return q;
    return q / T::J * d + q % T::J;
  }
};

}  // namespace ks
