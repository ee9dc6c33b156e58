// Tensor cores: each warp keeps TM×TN sums of each of TJ j's and multiplies by mma.sync.
//
// In every instruction A is 16 rows of weights and B eight batch entries of X, along 32 bytes of l.
#pragma once

#include "tile.cuh"

namespace ks {

template <class T>
class OnTensorCores {
  using E = typename T::Element;
  using P = typename T::Precision;
  static constexpr int L = 32 / sizeof(E);            // l's per instruction
  static constexpr int FRAGMENT = 512 / sizeof(E);    // elements of A in one instruction, 16 bytes a lane
  static constexpr int COLUMNS = T::BN / T::TN, ROWS = T::BM / T::TM;  // warps across the tile
  static_assert(T::TM % 16 == 0 && T::TN % 16 == 0 && T::BK % L == 0, "warps own whole instructions");

  float sum[T::TJ][T::TM / 16][T::TN / 8][4] = {};
  int m0, n0, j0, lane;

 public:
  KS_DEVICE OnTensorCores() {
    const int warp = thread_index() / 32;
    lane = thread_index() % 32;
    n0 = warp % COLUMNS * T::TN;
    m0 = warp / COLUMNS % ROWS * T::TM;
    j0 = warp / (COLUMNS * ROWS) * T::TJ;
  }

  /// Adds one step: weights by fragments, X [j][l][n], or [n][l] if DIRECT.
  KS_DEVICE void step(const E* w, const E* x, int js) {
    KS_UNROLL
    for (int j = 0; j < T::TJ; ++j) {
      if (j0 + j >= js) return;
      KS_UNROLL
      for (int l = 0; l < T::BK; l += L) multiply(sum[j], w, x, j0 + j, l);
    }
  }

  /// Calls f(j, m, n, first, second) for every two sums that are neighbours in n.
  template <class F>
  KS_DEVICE void each_pair(F f) const {
    KS_UNROLL
    for (int j = 0; j < T::TJ; ++j) {
      KS_UNROLL
      for (int m = 0; m < T::TM / 16; ++m) {
        KS_UNROLL
        for (int n = 0; n < T::TN / 8; ++n) {
          const float(&c)[4] = sum[j][m][n];
          const int row = m0 + m * 16 + lane / 4, column = n0 + n * 8 + lane % 4 * 2;
          f(j0 + j, row, column, c[0], c[1]);
          f(j0 + j, row + 8, column, c[2], c[3]);
        }
      }
    }
  }

 private:
  KS_DEVICE void multiply(float (&sums)[T::TM / 16][T::TN / 8][4], const E* w, const E* x, int j, int l) {
    Words a[T::TM / 16];
    KS_UNROLL
    for (int m = 0; m < T::TM / 16; ++m) {
      const int fragment = (j * (T::BM / 16) + m0 / 16 + m) * (T::BK / L) + l / L;
      a[m] = load_shared<Words>(w + fragment * FRAGMENT + lane * T::UNIT);
    }
    KS_UNROLL
    for (int n = 0; n < T::TN; n += 16) {
      uint32_t b[4];
      load_x(b, x + j * T::X_PLANE, l, n0 + n);
      KS_UNROLL
      for (int m = 0; m < T::TM / 16; ++m) {
        P::mma(sums[m][n / 8], a[m].at, b[0], b[1]);
        P::mma(sums[m][n / 8 + 1], a[m].at, b[2], b[3]);
      }
    }
  }

  /// B of two instructions: l.. and sixteen batch entries n..
  KS_DEVICE void load_x(uint32_t (&b)[4], const E* x, int l, int n) const {
    const int row = lane % 8, half = lane / 8 % 2, second = lane / 16;
    if constexpr (T::DIRECT) {
      load_matrices<false>(b, x + (n + second * 8 + row) * T::X_PITCH + l + half * (L / 2));
    } else if constexpr (T::BY_WORDS) {
      const E* first = x + (l + lane % 4) * T::X_PITCH + n + lane / 4;
      KS_UNROLL
      for (int u = 0; u < 4; ++u) b[u] = load_shared<uint32_t>(first + u % 2 * 4 * T::X_PITCH + u / 2 * 8);
    } else {
      load_matrices<true>(b, x + (l + half * 8 + row) * T::X_PITCH + n + second * 8);
    }
    KS_UNROLL
    for (int u = 0; u < 4; ++u) b[u] = P::round(b[u]);
  }
};

}  // namespace ks
