// Re-lays W into the words that the tiles read, in one pass: the vectorised transpositions.
#pragma once

#include "twin_plan.hpp"

// W in memory: of shape (a, b, c, d), or of shape (a, c, b, d) if the product uses its transpose.
template <class Element>
struct Weights {
  const Element* first;
  int64_t i_stride, k_stride, l_stride;  // 1 along j
  bool transposed;

  Weights(const void* weights, const Shape& shape, bool transposed)
      : first(static_cast<const Element*>(weights)),
        i_stride(shape.b * shape.c * shape.d),
        k_stride(transposed ? shape.d : shape.c * shape.d),
        l_stride(transposed ? shape.b * shape.d : shape.d),
        transposed(transposed) {}
  const Element* at(int64_t i, int64_t k, int64_t l) const {
    return first + i * i_stride + k * k_stride + l * l_stride;
  }
};

// ---- elements to words -------------------------------------------------------------------------------

// Words of two terms; `second` may be null for a sum with an odd number of terms.
template <class Element>
inline void pair_runs(const Element* first, const Element* second, int64_t count, float* to) {
  typedef uint32_t Words __attribute__((vector_size(kLanes * 4), aligned(4), may_alias));
  typedef uint16_t Halves __attribute__((vector_size(kLanes * 2), aligned(2), may_alias));
  int64_t n = 0;
  for (; second && n + kLanes <= count; n += kLanes) {
    const Words low = __builtin_convertvector(*reinterpret_cast<const Halves*>(first + n), Words);
    const Words high = __builtin_convertvector(*reinterpret_cast<const Halves*>(second + n), Words);
    *reinterpret_cast<Words*>(to + n) = low | high << 16;
  }
  for (; n < count; ++n)
    to[n] = float_from_bits(uint32_t(first[n].bits) | (second ? uint32_t(second[n].bits) << 16 : 0));
}

template <class Element, int kRun>
inline void pair_rows_of(const Element* from, int64_t pairs, int64_t run, float* to) {
  const int64_t d = kRun ? kRun : run;
  for (int64_t step = 0; step < pairs; ++step, from += 2 * d) pair_runs(from, from + d, d, to + step * d);
}

// The same for runs shorter than a vector, with whole vectors where both runs lie before `end`: each store
// writes beyond its run, where the next one follows. `to` has room for a vector more.
template <class Element>
inline void pair_short_rows(const Element* from, const Element* end, int64_t pairs, int64_t d, float* to) {
  int64_t step = 0;
  for (; step < pairs && from + d + kLanes <= end; ++step, from += 2 * d, to += d)
    pair_runs(from, from + d, kLanes, to);
  for (; step < pairs; ++step, from += 2 * d, to += d) pair_runs(from, from + d, d, to);
}

// The words [step][j] of c rows of d elements without gaps, in `room` or, where they are words already, in
// place.
template <class Element>
inline const float* words_along_l(const Element* from, int64_t c, int64_t d, float* room) {
  if constexpr (MathOf<Element>::Type::kTerms == 2) {
    const int64_t pairs = c / 2;
    if (d == 1) std::memcpy(room, from, size_t(2 * pairs) * sizeof(Element));
    else if (d == 2) pair_rows_of<Element, 2>(from, pairs, d, room);
    else if (d == 4) pair_rows_of<Element, 4>(from, pairs, d, room);
    else if (d == 8) pair_rows_of<Element, 8>(from, pairs, d, room);
    else if (d < kLanes) pair_short_rows(from, from + c * d, pairs, d, room);
    else pair_rows_of<Element, 0>(from, pairs, d, room);
    if (c % 2) pair_runs<Element>(from + (c - 1) * d, nullptr, d, room + pairs * d);
    return room;
  } else if constexpr (kIsWord<Element>) {
    return reinterpret_cast<const float*>(from);
  } else {
    widen_run(from, room, c * d);
    return room;
  }
}

// The words of `count` neighbouring elements, for the terms `from` and, if a word holds two, `second`.
template <class Element>
inline const float* words_across_l(const Element* from, const Element* second, int64_t count, float* room) {
  if constexpr (MathOf<Element>::Type::kTerms == 2) {
    pair_runs(from, second, count, room);
    return room;
  } else if constexpr (kIsWord<Element>) {
    return reinterpret_cast<const float*>(from);
  } else {
    widen_run(from, room, count);
    return room;
  }
}

// ---- transpositions ----------------------------------------------------------------------------------

// Swaps the blocks off the diagonal between two rows that are kHalf apart, in units of kUnit words.
template <int kUnit, int kHalf, bool kHigh>
struct Swapped {
  static constexpr int lane(int lane) {
    const int unit = lane / kUnit;
    const bool second = unit & kHalf;
    const int from = kHigh == second ? unit : kHigh ? unit + kHalf : unit - kHalf;
    return from * kUnit + lane % kUnit + (second ? kLanes : 0);
  }
};

template <int kUnit, int kHalf>
inline void swap_blocks(Vector* rows) {
#pragma GCC unroll 16
  for (int r = 0; r < kLanes / kUnit; ++r) {
    if (r & kHalf) continue;
    const Vector low = rows[r], high = rows[r + kHalf];
    rows[r] = pick<Swapped<kUnit, kHalf, false>>(low, high);
    rows[r + kHalf] = pick<Swapped<kUnit, kHalf, true>>(low, high);
  }
  if constexpr (kHalf > 1) swap_blocks<kUnit, kHalf / 2>(rows);
}

// Transposes a square of kLanes / kUnit rows with as many units of kUnit words; `load(row)` is a vector of
// the source, `to(row)` the address of one of the result.
template <int kUnit, class Load, class To>
inline void transpose(const Load& load, const To& to) {
  constexpr int kSide = kLanes / kUnit;
  Vector rows[kSide];
#pragma GCC unroll 16
  for (int r = 0; r < kSide; ++r) rows[r] = load(r);
  if constexpr (kSide > 1) swap_blocks<kUnit, kSide / 2>(rows);
#pragma GCC unroll 16
  for (int r = 0; r < kSide; ++r) *reinterpret_cast<Vector*>(to(r)) = rows[r];
}

inline Vector load_words(const float* from) { return *reinterpret_cast<const Vector*>(from); }

// ---- (n, d) to (d, n) --------------------------------------------------------------------------------

struct EvenLanes {
  static constexpr int lane(int lane) { return 2 * lane; }
};
struct OddLanes {
  static constexpr int lane(int lane) { return 2 * lane + 1; }
};

// Splits kRows interleaved rows, a power of two, into `to + row * stride`; each vector belongs to the rows
// first, first + step, ...
template <int kRows>
inline void split_rows(const Vector* mixed, float* to, int64_t stride, int64_t first, int64_t step) {
  if constexpr (kRows == 1) {
    *reinterpret_cast<Vector*>(to + first * stride) = mixed[0];
  } else {
    Vector even[kRows / 2], odd[kRows / 2];
#pragma GCC unroll 8
    for (int v = 0; v < kRows / 2; ++v) {
      even[v] = pick<EvenLanes>(mixed[2 * v], mixed[2 * v + 1]);
      odd[v] = pick<OddLanes>(mixed[2 * v], mixed[2 * v + 1]);
    }
    split_rows<kRows / 2>(even, to, stride, first, 2 * step);
    split_rows<kRows / 2>(odd, to, stride, first + step, 2 * step);
  }
}

// kRows is d if it is a compile-time constant, else 0.
template <int kRows>
inline void split_words(const float* from, int64_t count, int64_t d, float* to, int64_t stride) {
  const int64_t rows = kRows ? kRows : d;
  for (int64_t n = 0; n < count; ++n)
    for (int64_t j = 0; j < rows; ++j) to[j * stride + n] = from[n * rows + j];
}

template <int kRows>
inline void split_vectors(const float* from, int64_t count, float* to, int64_t stride) {
  int64_t n = 0;
  for (; n + kLanes <= count; n += kLanes) {
    Vector mixed[kRows];
#pragma GCC unroll 8
    for (int v = 0; v < kRows; ++v) mixed[v] = load_words(from + n * kRows + v * kLanes);
    split_rows<kRows>(mixed, to + n, stride, 0, 1);
  }
  split_words<kRows>(from + n * kRows, count - n, kRows, to + n, stride);
}

// In squares; the last ones of each side overlap the ones before them.
inline void split_squares(const float* from, int64_t count, int64_t d, float* to, int64_t stride) {
  for (int64_t n = 0; n < count; n += kLanes)
    for (int64_t j = 0; j < d; j += kLanes) {
      const int64_t n0 = std::min(n, count - kLanes), j0 = std::min(j, d - kLanes);
      transpose<1>([&](int r) { return load_words(from + (n0 + r) * d + j0); },
                   [&](int r) { return to + (j0 + r) * stride + n0; });
    }
}

// Words (count, d) without gaps to d rows of `count` words.
inline void split(const float* from, int64_t count, int64_t d, float* to, int64_t stride) {
  if (d == 1) std::memcpy(to, from, size_t(count) * sizeof(float));
  else if (d == 2) split_vectors<2>(from, count, to, stride);
  else if (d == 3) split_words<3>(from, count, d, to, stride);
  else if (d == 4) split_vectors<4>(from, count, to, stride);
  else if (d == 8) split_vectors<8>(from, count, to, stride);
  else if (d >= kLanes && count >= kLanes) split_squares(from, count, d, to, stride);
  else split_words<0>(from, count, d, to, stride);
}

// Units (count, d) of two words without gaps to d rows of `count` units.
inline void split_pairs(const float* from, int64_t count, int64_t d, float* to, int64_t stride) {
  if (d == 1) {
    std::memcpy(to, from, size_t(2 * count) * sizeof(float));
    return;
  }
  for (int64_t j = 0; j < d; ++j)
    for (int64_t n = 0; n < count; ++n)
      std::memcpy(to + j * stride + 2 * n, from + 2 * (n * d + j), 2 * sizeof(float));
}

// ---- units of neighbouring j's -----------------------------------------------------------------------

// Written as a loop over words, GCC would call memcpy.
inline void copy_words(const float* from, int64_t count, float* to) {
  int64_t n = 0;
  for (; n + kLanes <= count; n += kLanes) *reinterpret_cast<Vector*>(to + n) = load_words(from + n);
  for (; n < count; ++n) to[n] = from[n];
}

// Copies `count` units of kUnit words with a distance of their own on both sides.
template <int kUnit>
inline void copy_units(const float* from, int64_t from_step, float* to, int64_t to_step, int64_t count) {
  for (int64_t n = 0; n < count; ++n, to += to_step, from += from_step)
    std::memcpy(to, from, kUnit * sizeof(float));
}

inline void copy_units(int unit, const float* from, int64_t from_step, float* to, int64_t to_step,
                       int64_t count) {
  switch (unit) {
    case 1: return copy_units<1>(from, from_step, to, to_step, count);
    case 2: return copy_units<2>(from, from_step, to, to_step, count);
    case 4: return copy_units<4>(from, from_step, to, to_step, count);
    default: return copy_units<kLongestPeriod>(from, from_step, to, to_step, count);
  }
}

// kLanes / kUnit rows of `count` units of kUnit words, `row_stride` apart, to `count` vectors `step` apart.
template <int kUnit>
inline void gather_units(const float* from, int64_t row_stride, int64_t count, float* to, int64_t step) {
  constexpr int64_t kSide = kLanes / kUnit;
  int64_t l = 0;
  for (; l + kSide <= count; l += kSide)
    transpose<kUnit>([&](int r) { return load_words(from + r * row_stride + l * kUnit); },
                     [&](int r) { return to + (l + r) * step; });
  for (int64_t r = 0; r < kSide; ++r)
    copy_units<kUnit>(from + r * row_stride + l * kUnit, kUnit, to + l * step + r * kUnit, step, count - l);
}

inline void gather_units(int unit, const float* from, int64_t row_stride, int64_t count, float* to,
                         int64_t step) {
  switch (unit) {
    case 1: return gather_units<1>(from, row_stride, count, to, step);
    case 2: return gather_units<2>(from, row_stride, count, to, step);
    case 4: return gather_units<4>(from, row_stride, count, to, step);
    default: return gather_units<kLongestPeriod>(from, row_stride, count, to, step);
  }
}
