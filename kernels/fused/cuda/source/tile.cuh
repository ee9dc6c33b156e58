// One tile of the product: its sizes, its layout of shared memory, its place in the problem.
//
// Letters as in the paper: K has the pattern (a, b, c, d) and consists of a·d independent b×c matrices,
// one for each (i, j); Y = K X has the shape features × batch. A block computes BM of the b rows, BN of the
// batch entries and J neighbouring j's of one i, in steps of BK along c.
#pragma once

#include "precision.cuh"

namespace ks {

enum Layout { batch_first, batch_last };
enum Family { cores, tensor_cores, warpgroups };

/// The parameter of the kernel, packed by arguments.py.
struct Arguments {
  const void* x;
  const void* w;     // re-laid by weight_layout.py
  const void* bias;  // one value for each feature of Y, or null
  void* y;           // PARTED: sums, one Y for each part
  long long batch;
  int a, b, c, d;
  int parts;    // PARTED: number of parts of the c columns
  int walkers;  // RESIDENT: persistent blocks that share the batch tiles of the same weights
};

template <bool FIRST, class A, class B>
struct Either { using Type = A; };
template <class A, class B>
struct Either<false, A, B> { using Type = B; };

KS_DEVICE int tiles_in(int extent, int tile) { return (extent + tile - 1) / tile; }

/// Sizes chosen by tile_candidates.py; tile.py also computes THREADS and SHARED_BYTES, and fused.cu
/// compares them.
///
/// FLAT: J >= d, so the features of one row and one i are a contiguous run; otherwise segments of J.
/// TM, TN, TJ: the share of one thread (CUDA cores), warp (tensor cores) or warpgroup.
/// VECTOR: bytes per access to X and Y, allowed by the pointers and strides.
/// PARTED: a block sums one part of the c columns; sum_parts.cuh adds up the parts.
/// RESIDENT: a block keeps all its weights in shared memory and walks along the batch.
/// BLOCKED: CUDA cores add c in blocks of BLOCK_STEPS steps, so that the error of fp32 does not grow with c.
template <Family FAMILY_, class Precision_, Layout LAYOUT_, int BM_, int BN_, int BK_, int J_, bool FLAT_,
          int TM_, int TN_, int TJ_, int STAGES_, int VECTOR_, bool PARTED_, bool RESIDENT_,
          bool BLOCKED_>
struct Tile {
  using Precision = Precision_;
  using Element = typename Precision::Element;
  using Sum = typename SumOf<Element>::Type;
  using Output = typename Either<PARTED_, Sum, typename Precision::Output>::Type;
  static constexpr Family FAMILY = FAMILY_;
  static constexpr Layout LAYOUT = LAYOUT_;
  static constexpr int BM = BM_, BN = BN_, BK = BK_, J = J_, TM = TM_, TN = TN_, TJ = TJ_;
  static constexpr bool FLAT = FLAT_, PARTED = PARTED_, RESIDENT = RESIDENT_, BLOCKED = BLOCKED_;
  static constexpr int STAGES = STAGES_, VECTOR = VECTOR_;

  static constexpr int UNIT = 16 / sizeof(Element);  // elements in the widest access
  static constexpr int WORKERS = (BM / TM) * (BN / TN) * (J / TJ);
  static constexpr int THREADS = WORKERS * (FAMILY == cores ? 1 : FAMILY == tensor_cores ? 32 : 128);
  /// With up to 64 sums a thread needs at most 128 registers, so more blocks share a multiprocessor; RESIDENT,
  /// PARTED with more than 32 sums, and fp8, which sm_90 converts to fp16 for mma.sync, need a few more.
  static constexpr int SUMS = BM * BN * J / THREADS;
  static constexpr bool TWO_SUMS = BLOCKED || (FAMILY == tensor_cores && Precision::SPLIT);
  static constexpr int SUM_REGISTERS = SUMS * (TWO_SUMS ? 2 : 1) * int(sizeof(Sum) / 4);
  static constexpr int BLOCK_STEPS = 512 / BK;
  static constexpr bool CROWDED = RESIDENT || sizeof(Element) == 1 || (PARTED && SUM_REGISTERS > 32);
  static constexpr int MOST_SUMS = FAMILY == tensor_cores && sizeof(Element) == 1 ? 32 : 64;
  static constexpr int REGISTERS = SUM_REGISTERS > MOST_SUMS ? 256 : CROWDED ? 168 : 128;
  static constexpr int BLOCKS = 65536 / (THREADS * REGISTERS);

  /// For a single j, tensor cores multiply X in its order [n][l]; every other variant needs n innermost,
  /// so batch_first is transposed in shared memory.
  static constexpr bool DIRECT = LAYOUT == batch_first && J == 1 && FAMILY != cores;
  static constexpr bool TURNED = LAYOUT == batch_first && !DIRECT;

  /// Pitches that avoid bank conflicts within a warp (tests/kernels/fused/host_emulator/test_banks.py): an
  /// odd number of 16-byte units between rows, or 8 words where tf32 fragments are read word by word.
  /// DIRECT rows are 64 bytes without padding; `swizzled` permutes their units.
  static constexpr bool BY_WORDS = FAMILY == tensor_cores && sizeof(Element) == 4 && !DIRECT;
  static constexpr int ODD_UNITS = UNIT * (1 - BN / UNIT % 2);
  static constexpr int X_PITCH = DIRECT ? BK : FAMILY == warpgroups ? BN : BN + (BY_WORDS ? 8 : ODD_UNITS);
  static constexpr int X_PLANE = BK * X_PITCH + UNIT * (J < 8 && !BY_WORDS ? 8 / J : 1);  // of one j
  static constexpr int RAW_PITCH = BK * J + UNIT;      // batch_first, before the transposition: [n][l][j]
  static constexpr int Y_UNIT = 16 / sizeof(Output);
  static constexpr bool WIDE_PAIRS = FAMILY == tensor_cores && LAYOUT == batch_last && sizeof(Output) == 4;
  static constexpr int GROUP = UNIT < 4 ? UNIT : 4;  // neighbours that a thread of the CUDA cores accesses at once
  /// Bytes of X with n innermost: a lane then holds the sums of four neighbours in n.
  static constexpr bool FOURS = FAMILY == tensor_cores && sizeof(Element) == 1 && !DIRECT;
  static constexpr int Y_GAP =
      FOURS && LAYOUT == batch_last ? 16 * (1 - BN / 16 % 2) : WIDE_PAIRS ? 8 : Y_UNIT;
  static constexpr int Y_PITCH = (LAYOUT == batch_last ? BN : BM) + Y_GAP;
  /// batch_first on CUDA cores: extra units after the group of rows of one thread.
  static constexpr int Y_COLUMNS = LAYOUT == batch_first && FAMILY == cores ? BN / TN : 0;
  static constexpr int Y_SKEW = FOURS ? 8 : Y_UNIT * (Y_COLUMNS >= 8 ? 1 : Y_COLUMNS == 4 ? 2 : 0);
  static constexpr int Y_PLANE =  // batch_first: from one j to the next
      BN * Y_PITCH + BN / GROUP * Y_SKEW + (FAMILY == cores || J == 2 ? Y_UNIT : sizeof(Output));

  static constexpr int W_ELEMENTS = J * BM * BK;
  static constexpr int X_ELEMENTS = TURNED ? BN * RAW_PITCH : (DIRECT ? BN : BK) * X_PITCH;
  static constexpr int STAGE_ELEMENTS = X_ELEMENTS + (RESIDENT ? 0 : W_ELEMENTS);
  static constexpr int TURNED_ELEMENTS = TURNED ? J * X_PLANE : 0;
  static constexpr int ALIGNING_BYTES = FAMILY == warpgroups ? 1024 : 0;  // required by wgmma and TMA
  static constexpr int LOOP_BYTES =
      sizeof(Element) * (STAGES * STAGE_ELEMENTS + TURNED_ELEMENTS) + ALIGNING_BYTES;
  static constexpr int Y_BYTES = sizeof(Output) * (LAYOUT == batch_last ? BM * Y_PITCH : J * Y_PLANE);
  /// Y reuses the memory of the stages, unless these already hold copies for the next batch tile.
  static constexpr int Y_OFFSET_BYTES = RESIDENT ? LOOP_BYTES : 0;
  static constexpr int WHOLE_Y_BYTES = (Y_BYTES + 15) / 16 * 16;
  /// RESIDENT: the weights follow after this.
  static constexpr int SHARED_BYTES =
      RESIDENT ? LOOP_BYTES + WHOLE_Y_BYTES : LOOP_BYTES > WHOLE_Y_BYTES ? LOOP_BYTES : WHOLE_Y_BYTES;
  static_assert(!DIRECT || FAMILY == warpgroups || BK == 4 * UNIT, "swizzled knows rows of four units");
  static_assert(BM % UNIT == 0 && BN % UNIT == 0 && BK * J % UNIT == 0, "rows are whole 16-byte units");
};

/// The offset of element l of row n in a DIRECT stage: two rows fill the banks, and the units of
/// neighbouring pairs of rows are permuted, so that the units of one l in eight rows use different banks.
template <class T>
KS_DEVICE int swizzled(int n, int l) {
  return n * T::X_PITCH + (l / T::UNIT ^ n / 2 % 4) * T::UNIT + l % T::UNIT;
}

/// The place of a block: rows from k0, batch entries from n0, j's from j0, all of one i.
struct Place {
  int i, j0, k0;
  int part;  // of the c columns
  long long n0;
  int js, ns;                // j's and batch entries of the block that exist, at most J and BN
  long long weights_offset;  // offset of the block's first weights, in elements
};

/// SCALED: the scale of the first row of K; they follow the weights, in the order of the features of Y.
template <class T>
KS_DEVICE const float* row_scales(const Arguments& g) {
  using E = typename T::Element;
  const long long matrices = static_cast<long long>(g.a) * tiles_in(g.d, T::J);
  const long long pieces = matrices * tiles_in(g.b, T::BM) * tiles_in(g.c, T::BK);
  return reinterpret_cast<const float*>(static_cast<const E*>(g.w) + pieces * T::W_ELEMENTS);
}

template <class T>
KS_DEVICE unsigned batch_tiles(const Arguments& g) {
  return static_cast<unsigned>((g.batch + T::BN - 1) / T::BN);
}

/// Batch entries of the tile that starts at n0.
template <class T>
KS_DEVICE int batch_entries(const Arguments& g, long long n0) {
  return g.batch - n0 < T::BN ? static_cast<int>(g.batch - n0) : T::BN;
}

/// Blocks are numbered with k innermost: blocks that read the same X run at the same time, so X is loaded
/// from memory once; then along the batch, so that few weights are in use at a time.
template <class T>
KS_DEVICE Place place_of(const Arguments& g, unsigned block) {
  const unsigned k_tiles = tiles_in(g.b, T::BM);
  const unsigned n_tiles = T::RESIDENT ? g.walkers : batch_tiles<T>(g);
  const unsigned groups = tiles_in(g.d, T::J);
  const unsigned k = block % k_tiles, n = block / k_tiles % n_tiles;
  unsigned matrices = block / k_tiles / n_tiles;
  Place at;
  at.part = 0;
  if constexpr (T::PARTED) {
    at.part = matrices / (g.a * groups);
    matrices %= g.a * groups;
  }
  at.i = matrices / groups;
  at.j0 = matrices % groups * T::J;
  at.k0 = k * T::BM;
  at.n0 = static_cast<long long>(n) * T::BN;
  at.ns = batch_entries<T>(g, at.n0);
  at.js = g.d - at.j0 < T::J ? g.d - at.j0 : T::J;
  at.weights_offset = (static_cast<long long>(matrices) * k_tiles + k) * tiles_in(g.c, T::BK) * T::W_ELEMENTS;
  return at;
}

/// Calls f(row, column) for this thread's share of ROWS × COLUMNS; neighbouring threads get neighbouring
/// columns; if the sizes divide evenly, a thread stays in its column.
template <class T, int ROWS, int COLUMNS, class F>
KS_DEVICE void share(F f) {
  constexpr int COUNT = ROWS * COLUMNS;
  KS_UNROLL_BY(2)  // more unrolling would need more address registers than there are
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

/// Features of one batch entry in batch_first: `rows` rows or columns of K, for the block's j's.
/// Position q numbers them in the order of shared memory, without gaps.
template <class T>
struct Run {
  int rows, d, js;

  /// Number of positions from one row or column of K to the next.
  KS_DEVICE int step() const { return T::FLAT ? (T::J == 1 ? 1 : d) : T::J; }
  KS_DEVICE bool has(int q) const {
    if constexpr (T::FLAT) return q < rows * step();
    return q / T::J < rows && q % T::J < js;
  }
  /// Offset from the first feature in the tensor, in elements.
  KS_DEVICE long long offset(int q) const {
    if constexpr (T::FLAT) return q;
    return static_cast<long long>(q / T::J) * d + q % T::J;
  }
};

}  // namespace ks
