// CUDA cores: each thread holds TM×TN sums of one j and accumulates outer products.
#pragma once

#include "store.cuh"

namespace ks {

/// Reads COUNT neighbours in one access.
template <int COUNT, class E>
KS_DEVICE void load_group(const E* from, typename SumOf<E>::Type* to) {
  const auto group = load_shared<Vector<E, COUNT>>(from);
  KS_UNROLL
  for (int u = 0; u < COUNT; ++u) to[u] = to_sum(group.at[u]);
}

/// The sums of one thread: groups of four rows and of four batch entries, of two where an element has 8 bytes,
/// distributed over the tile so that a warp reads X contiguously.
template <class T>
class OnCores {
  using E = typename T::Element;
  using Sum = typename T::Sum;
  static constexpr int COLUMNS = T::BN / T::TN, ROWS = T::BM / T::TM;  // threads across the tile
  static constexpr int GROUP = T::GROUP;
  static_assert(T::TM % 4 == 0 && T::TN % 4 == 0 && T::TJ == 1, "threads own groups of four");

  Sum sum[T::TM][T::TN] = {};
  Sum blocks[T::BLOCKED ? T::TM : 1][T::TN] = {};  // BLOCKED: the sums of the columns before this block's
  int m0, n0, j;

  KS_DEVICE int row(int u) const { return m0 + u / GROUP * (GROUP * ROWS) + u % GROUP; }
  KS_DEVICE int column(int u) const { return n0 + u / GROUP * (GROUP * COLUMNS) + u % GROUP; }

 public:
  KS_DEVICE OnCores() {
    const int t = thread_index();
    n0 = t % COLUMNS * GROUP;
    m0 = t / COLUMNS % ROWS * GROUP;
    j = t / (COLUMNS * ROWS);
  }

  /// Adds one step: weights [j][l][m], X [j][l][n] with `plane` elements from one j to the next.
  KS_DEVICE void step(const E* w, const E* x, int js, int plane = T::X_PLANE) {
    if (j >= js) return;
    w += j * T::BK * T::BM;
    x += j * plane;
    KS_UNROLL_BY(2)
    for (int l = 0; l < T::BK; ++l) {
      Sum ws[T::TM], xs[T::TN];
      KS_UNROLL
      for (int u = 0; u < T::TM; u += GROUP) load_group<GROUP>(w + l * T::BM + row(u), ws + u);
      KS_UNROLL
      for (int u = 0; u < T::TN; u += GROUP) load_group<GROUP>(x + l * T::X_PITCH + column(u), xs + u);
      KS_UNROLL
      for (int m = 0; m < T::TM; ++m) {
        KS_UNROLL
        for (int n = 0; n < T::TN; ++n) add_product(sum[m][n], ws[m], xs[n]);
      }
    }
  }

  /// Ends a block of columns: long sums would lose the last digits of every further product.
  KS_DEVICE void end_block() {
    KS_UNROLL
    for (int m = 0; m < T::TM; ++m) {
      KS_UNROLL
      for (int n = 0; n < T::TN; ++n) blocks[m][n] += sum[m][n], sum[m][n] = Sum{};
    }
  }

  /// Adds the ended blocks to the sums.
  KS_DEVICE void add_blocks() {
    KS_UNROLL
    for (int m = 0; m < T::TM; ++m) {
      KS_UNROLL
      for (int n = 0; n < T::TN; ++n) sum[m][n] += blocks[m][n];
    }
  }

  /// Adds value(j, m) to all sums of a row.
  template <class F>
  KS_DEVICE void add_to_rows(F value) {
    KS_UNROLL
    for (int m = 0; m < T::TM; ++m) {
      const Sum more = value(j, row(m));
      KS_UNROLL
      for (int n = 0; n < T::TN; ++n) sum[m][n] += more;
    }
  }

  /// Writes the sums to a tile of Y or to an intermediate, a group of neighbours per access.
  template <class Target>
  KS_DEVICE void store(const Target& y, int js) const {
    constexpr bool ALONG_N = Target::ALONG_N;
    if (j >= js) return;
    KS_UNROLL
    for (int m = 0; m < T::TM; m += ALONG_N ? 1 : GROUP) {
      KS_UNROLL
      for (int n = 0; n < T::TN; n += ALONG_N ? GROUP : 1) {
        Vector<typename Target::Element, GROUP> group;
        KS_UNROLL
        for (int u = 0; u < GROUP; ++u) from_sum(ALONG_N ? sum[m][n + u] : sum[m + u][n], group.at[u]);
        y.put_group(j, row(m), column(n), group);
      }
    }
  }
};

}  // namespace ks
