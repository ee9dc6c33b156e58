// Tensor cores: each warp holds TM×TN sums for each of TJ j's and multiplies with mma.sync.
//
// In every instruction A holds 16 rows of weights and B eight batch entries of X, along 32 bytes of l.
#pragma once

#include "store.cuh"

namespace ks {

template <class T>
class OnTensorCores {
  using E = typename T::Element;
  using P = typename T::Precision;
  static constexpr int L = 32 / sizeof(E);            // l's per instruction
  static constexpr int FRAGMENT = 512 / sizeof(E);    // elements of A per instruction, 16 bytes per lane
  static constexpr int COLUMNS = T::BN / T::TN, ROWS = T::BM / T::TM;  // warps across the tile
  static_assert(T::TM % 16 == 0 && T::TN % 16 == 0 && T::BK % L == 0, "warps own whole instructions");

  using Sums = float[T::TM / 16][T::TN / 8][4];

  Sums sum[T::TJ] = {};
  int m0, n0, j0, lane;

 public:
  KS_DEVICE OnTensorCores() {
    const int warp = thread_index() / 32;
    lane = thread_index() % 32;
    n0 = warp % COLUMNS * T::TN;
    m0 = warp / COLUMNS % ROWS * T::TM;
    j0 = warp / (COLUMNS * ROWS) * T::TJ;
  }

  /// Adds one step: weights by fragments, X [j][l][n] with `plane` elements from one j to the next, or [n][l]
  /// if DIRECT.
  KS_DEVICE void step(const E* w, const E* x, int js, int plane = T::X_PLANE) {
    KS_UNROLL
    for (int j = 0; j < T::TJ; ++j) {
      if (j0 + j >= js) return;
      if constexpr (sizeof(E) == 1) {
        multiply_and_promote(w, x, j);
      } else if constexpr (P::SPLIT) {
        // Tensor cores truncate sums where fp32 rounds them, so only short sums are left to them.
        static_assert(T::BK <= 32, "sums are promoted to fp32 every 32 columns");
        Sums few = {};
        KS_UNROLL
        for (int l = 0; l < T::BK; l += L) multiply(few, w, x + (j0 + j) * plane, j0 + j, l);
        promote(few, sum[j]);
      } else {
        KS_UNROLL
        for (int l = 0; l < T::BK; l += L) multiply(sum[j], w, x + (j0 + j) * plane, j0 + j, l);
      }
    }
  }

  /// Adds value(j, m) to all sums of a row.
  template <class F>
  KS_DEVICE void add_to_rows(F value) {
    change_rows(value, [](float& sum, float more) { sum += more; });
  }

  /// Multiplies all sums of a row by scale(j, m).
  template <class F>
  KS_DEVICE void scale_rows(F scale) {
    change_rows(scale, [](float& sum, float by) { sum *= by; });
  }

  /// Writes the sums to a tile of Y or to an intermediate, two or four neighbours in n per access where n is
  /// innermost.
  template <class Target>
  KS_DEVICE void store(const Target& y, int js) const {
    KS_UNROLL
    for (int j = 0; j < T::TJ; ++j) {
      if (j0 + j >= js) return;
      KS_UNROLL
      for (int m = 0; m < T::TM / 16; ++m) {
        const int row = m0 + m * 16 + lane / 4;
        KS_UNROLL
        for (int n = 0; n < T::TN / 8; n += T::FOURS ? 2 : 1) {
          const float(&c)[4] = sum[j][m][n];
          if constexpr (T::FOURS) {
            const float(&odd)[4] = sum[j][m][n + 1];
            const int column = n0 + n * 8 + lane % 4 * 4;
            y.put_four(j0 + j, row, column, {c[0], odd[0], c[1], odd[1]});
            y.put_four(j0 + j, row + 8, column, {c[2], odd[2], c[3], odd[3]});
          } else {
            const int column = n0 + n * 8 + lane % 4 * 2;
            y.put_pair(j0 + j, row, column, c[0], c[1]);
            y.put_pair(j0 + j, row + 8, column, c[2], c[3]);
          }
        }
      }
    }
  }

 private:
  /// Calls change(sum, value(j, m)) for all sums of a row.
  template <class F, class G>
  KS_DEVICE void change_rows(F value, G change) {
    KS_UNROLL
    for (int j = 0; j < T::TJ; ++j) {
      KS_UNROLL
      for (int m = 0; m < T::TM / 16; ++m) {
        const int row = m0 + m * 16 + lane / 4;
        const float upper = value(j0 + j, row), lower = value(j0 + j, row + 8);
        KS_UNROLL
        for (int n = 0; n < T::TN / 8; ++n) {
          float(&c)[4] = sum[j][m][n];
          change(c[0], upper), change(c[1], upper), change(c[2], lower), change(c[3], lower);
        }
      }
    }
  }

  KS_DEVICE static void promote(const Sums& few, Sums& all) {
    KS_UNROLL
    for (int m = 0; m < T::TM / 16; ++m) {
      KS_UNROLL
      for (int n = 0; n < T::TN / 8; ++n) {
        KS_UNROLL
        for (int u = 0; u < 4; ++u) all[m][n][u] += few[m][n][u];
      }
    }
  }

  /// Adds one step of j's sums in fp8, eight of each lane at a time, so that few registers hold short sums.
  KS_DEVICE void multiply_and_promote(const E* w, const E* x, int j) {
    static_assert(T::BK <= 128, "the tensor cores' sums of fp8 are promoted to fp32 every 128 columns");
    constexpr int DEPTH = T::BK / L;
    Words a[DEPTH][T::TM / 16];
    KS_UNROLL
    for (int l = 0; l < DEPTH; ++l) load_weights(a[l], w, j0 + j, l * L);
    KS_UNROLL
    for (int n = 0; n < T::TN; n += 16) {
      uint32_t b[DEPTH][4];
      KS_UNROLL
      for (int l = 0; l < DEPTH; ++l) load_x(b[l], x + (j0 + j) * T::X_PLANE, l * L, n0 + n);
      KS_UNROLL
      for (int m = 0; m < T::TM / 16; ++m) {
        KS_UNROLL
        for (int half = 0; half < 2; ++half) {
          float few[4] = {};
          KS_UNROLL
          for (int l = 0; l < DEPTH; ++l) P::mma(few, a[l][m].at, b[l][half * 2], b[l][half * 2 + 1]);
          KS_UNROLL
          for (int u = 0; u < 4; ++u) sum[j][m][n / 8 + half][u] += few[u];
        }
      }
    }
  }

  /// A of one instruction for each sixteen rows: columns from l.
  KS_DEVICE void load_weights(Words (&a)[T::TM / 16], const E* w, int j, int l) const {
    KS_UNROLL
    for (int m = 0; m < T::TM / 16; ++m) {
      const int fragment = (j * (T::BM / 16) + m0 / 16 + m) * (T::BK / L) + l / L;
      a[m] = load_shared<Words>(w + fragment * FRAGMENT + lane * T::UNIT);
    }
  }

  KS_DEVICE void multiply(Sums& sums, const E* w, const E* x, int j, int l) {
    Words a[T::TM / 16];
    load_weights(a, w, j, l);
    KS_UNROLL
    for (int n = 0; n < T::TN; n += 16) {
      uint32_t b[4];
      load_x(b, x, l, n0 + n);
      KS_UNROLL
      for (int m = 0; m < T::TM / 16; ++m) {
        multiply(sums[m][n / 8], a[m].at, b[0], b[1]);
        multiply(sums[m][n / 8 + 1], a[m].at, b[2], b[3]);
      }
    }
  }

  /// One instruction; or three for SPLIT, small parts first: small times small is below the precision of fp32.
  KS_DEVICE static void multiply(float (&sums)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
    if constexpr (P::SPLIT) {
      uint32_t big[4], small[4];
      KS_UNROLL
      for (int u = 0; u < 4; ++u) {
        const Parts parts = split(a[u]);
        big[u] = parts.big, small[u] = parts.small;
      }
      const Parts first = split(b0), second = split(b1);
      P::mma(sums, small, first.big, second.big);
      P::mma(sums, big, first.small, second.small);
      P::mma(sums, big, first.big, second.big);
    } else {
      P::mma(sums, a, P::round(b0), P::round(b1));
    }
  }

  /// B of two instructions: columns from l and sixteen batch entries from n.
  KS_DEVICE void load_x(uint32_t (&b)[4], const E* x, int l, int n) const {
    const int row = lane % 8, half = lane / 8 % 2, second = lane / 16;
    if constexpr (T::DIRECT) {
      load_matrices<false>(b, x + swizzled<T>(n + second * 8 + row, l + half * (L / 2)));
    } else if constexpr (T::BY_WORDS) {
      const E* first = x + (l + lane % 4) * T::X_PITCH + n + lane / 4;
      KS_UNROLL
      for (int u = 0; u < 4; ++u) b[u] = load_shared<uint32_t>(first + u % 2 * 4 * T::X_PITCH + u / 2 * 8);
    } else if constexpr (T::FOURS) {
      // Each pair of bytes is two neighbours in n of one l: the first instruction takes the even n, the second
      // the odd ones, and a word holds the l's 2t, 2t + 1, 2t + 8, 2t + 9 of its sixteen.
      uint32_t pairs[4];
      load_matrices<true>(pairs, x + (l + lane) * T::X_PITCH + n);
      KS_UNROLL
      for (int u = 0; u < 4; ++u) {
        b[u] = choose_bytes(pairs[u % 2 * 2], pairs[u % 2 * 2 + 1], u < 2 ? 0x6420 : 0x7531);
      }
    } else {
      load_matrices<true>(b, x + (l + half * 8 + row) * T::X_PITCH + n + second * 8);
    }
  }
};

}  // namespace ks
