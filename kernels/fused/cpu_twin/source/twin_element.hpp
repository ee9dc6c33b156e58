// The storage formats and the 32-bit words that the tile kernels multiply.
#pragma once

#include <cstdint>
#include <cstring>
#include <type_traits>
#include <utility>

#if defined(__AVX512F__) || defined(__AVX2__) || defined(__F16C__)
#include <immintrin.h>
#endif

#if defined(__AVX512F__)
constexpr int kLanes = 16;
#elif defined(__AVX__)
constexpr int kLanes = 8;
#else
constexpr int kLanes = 4;
#endif

// Unaligned vectors of floats, since memory may start at any address.
typedef float Vector __attribute__((vector_size(kLanes * 4), aligned(4), may_alias));

inline float float_from_bits(uint32_t bits) {
  float value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

inline uint32_t bits_from_float(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  return bits;
}

struct Fp32 {
  float value;
  static float widen(Fp32 element) { return element.value; }
  static Fp32 narrow(float value) { return {value}; }
};

// One of the two words of an element of 8 bytes, which is a unit of words that stay together.
struct Fp64 : Fp32 {};
struct Complex64 : Fp32 {};

// Whether the elements in memory are words as they lie.
template <class Element>
constexpr bool kIsWord = std::is_base_of<Fp32, Element>::value;

struct Bf16 {
  uint16_t bits;
  static float widen(Bf16 element) { return float_from_bits(uint32_t(element.bits) << 16); }

  // Round to nearest even; a NaN stays a NaN even if its payload is in the dropped bits.
  static Bf16 narrow(float value) {
    const uint32_t bits = bits_from_float(value);
    const uint32_t rounded = (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
    const uint32_t quiet = (bits >> 16) | 0x40u;
    return {uint16_t((bits & 0x7fffffffu) > 0x7f800000u ? quiet : rounded)};
  }
};

struct Fp16 {
  uint16_t bits;
#if defined(__F16C__)
  static float widen(Fp16 element) { return _cvtsh_ss(element.bits); }
  static Fp16 narrow(float value) { return {uint16_t(_cvtss_sh(value, _MM_FROUND_TO_NEAREST_INT))}; }
#else
  static float widen(Fp16 element) {
    _Float16 half;
    std::memcpy(&half, &element, sizeof half);
    return half;
  }
  static Fp16 narrow(float value) {
    const _Float16 half = value;
    Fp16 element;
    std::memcpy(&element, &half, sizeof half);
    return element;
  }
#endif
};

inline Vector load(const Fp32* from) { return *reinterpret_cast<const Vector*>(from); }

inline Vector load(const Bf16* from) {
  typedef uint32_t Words __attribute__((vector_size(kLanes * 4)));
  typedef uint16_t Halves __attribute__((vector_size(kLanes * 2)));
  Halves halves;
  std::memcpy(&halves, from, sizeof halves);
  return (Vector)(__builtin_convertvector(halves, Words) << 16);
}

inline Vector load(const Fp16* from) {
#if defined(__F16C__) && defined(__AVX512F__)
  return (Vector)_mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(from)));
#elif defined(__F16C__) && defined(__AVX__)
  return (Vector)_mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(from)));
#else
  Vector values;
  for (int lane = 0; lane < kLanes; ++lane) values[lane] = Fp16::widen(from[lane]);
  return values;
#endif
}

template <class Element>
inline void widen_run(const Element* from, float* to, int64_t count) {
  int64_t index = 0;
  for (; index + kLanes <= count; index += kLanes) *reinterpret_cast<Vector*>(to + index) = load(from + index);
  for (; index < count; ++index) to[index] = Element::widen(from[index]);
}

// One to four whole vectors; written as a loop, GCC would call memcpy for each.
template <class Element>
inline void widen_vectors(const Element* from, float* to, int vectors) {
  *reinterpret_cast<Vector*>(to) = load(from);
  if (vectors > 1) *reinterpret_cast<Vector*>(to + kLanes) = load(from + kLanes);
  if (vectors > 2) *reinterpret_cast<Vector*>(to + 2 * kLanes) = load(from + 2 * kLanes);
  if (vectors > 3) *reinterpret_cast<Vector*>(to + 3 * kLanes) = load(from + 3 * kLanes);
}

template <class Element>
inline void store(Vector sums, Element* to) {
  for (int lane = 0; lane < kLanes; ++lane) to[lane] = Element::narrow(sums[lane]);
}

#if !defined(__AVX512BF16__)
// `Bf16::narrow` for all lanes at once; lane by lane it also took most of a minute to compile.
inline void store(Vector sums, Bf16* to) {
  typedef uint32_t Words __attribute__((vector_size(kLanes * 4)));
  typedef uint16_t Halves __attribute__((vector_size(kLanes * 2)));
  const Words bits = (Words)sums;
  const Words rounded = (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
  const Words quiet = (bits >> 16) | 0x40u;
  const Halves halves = __builtin_convertvector((bits & 0x7fffffffu) > 0x7f800000u ? quiet : rounded, Halves);
  std::memcpy(static_cast<void*>(to), &halves, sizeof halves);
}
#endif

inline void store(Vector sums, Fp32* to) { *reinterpret_cast<Vector*>(to) = sums; }
inline void store(Vector sums, Fp64* to) { *reinterpret_cast<Vector*>(to) = sums; }
inline void store(Vector sums, Complex64* to) { *reinterpret_cast<Vector*>(to) = sums; }

#if defined(__F16C__) && defined(__AVX__)
inline void store(Vector sums, Fp16* to) {
#if defined(__AVX512F__)
  const __m256i halves = _mm512_cvtps_ph((__m512)sums, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
#else
  const __m128i halves = _mm256_cvtps_ph((__m256)sums, _MM_FROUND_TO_NEAREST_INT);
#endif
  std::memcpy(static_cast<void*>(to), &halves, sizeof halves);
}
#endif

#if defined(__AVX512BF16__)
inline void store(Vector sums, Bf16* to) {
  const __m256bh halves = _mm512_cvtneps_pbh((__m512)sums);
  std::memcpy(static_cast<void*>(to), &halves, sizeof halves);
}
#endif

// Repeats kPeriod floats over all lanes: the vector runs along (k, j) with j fastest, so the same
// neighbouring j's of X are multiplied with every k without a transposition.
template <int kPeriod>
inline Vector repeat(const float* from) {
  Vector value;
  for (int lane = 0; lane < kLanes; ++lane) value[lane] = from[lane % kPeriod];
  return value;
}
#if defined(__AVX512F__)
template <>
inline Vector repeat<1>(const float* from) {
  return (Vector)_mm512_set1_ps(*from);
}
template <>
inline Vector repeat<2>(const float* from) {
  double two;
  std::memcpy(&two, from, sizeof two);
  return (Vector)_mm512_castpd_ps(_mm512_set1_pd(two));
}
template <>
inline Vector repeat<4>(const float* from) {
  return (Vector)_mm512_broadcast_f32x4(_mm_loadu_ps(from));
}
template <>
inline Vector repeat<8>(const float* from) {
  return (Vector)_mm512_castpd_ps(_mm512_broadcast_f64x4(_mm256_loadu_pd((const double*)from)));
}
#elif defined(__AVX__)
template <>
inline Vector repeat<1>(const float* from) {
  return (Vector)_mm256_broadcast_ss(from);
}
template <>
inline Vector repeat<2>(const float* from) {
  double two;
  std::memcpy(&two, from, sizeof two);
  return (Vector)_mm256_castpd_ps(_mm256_set1_pd(two));
}
template <>
inline Vector repeat<4>(const float* from) {
  return (Vector)_mm256_broadcast_ps((const __m128*)from);
}
template <>
inline Vector repeat<8>(const float* from) {
  return *reinterpret_cast<const Vector*>(from);
}
#endif

// One term of the sum over l in each 32-bit word, for fp32 and fp16.
struct SingleMath {
  static constexpr int kTerms = 1;     // of the sum, in a word
  static constexpr int kUnit = 1;      // words of an element
  static constexpr int kProducts = 1;  // added to a sum in each step
  static constexpr int kPasses = 1;    // over the sums in each step
  template <int kPass>
  static Vector column(Vector panel) {
    return panel;
  }
  template <int kPeriod, int kPass>
  static Vector row(const float* from) {
    return repeat<kPeriod>(from);
  }
  template <class Element>
  static float word(Element first, Element) {
    return Element::widen(first);
  }
  static Vector add_product(Vector sum, Vector panel, Vector row) { return sum + panel * row; }
};

#if defined(__AVX512BF16__) && defined(__AVX512F__)
// Two neighbouring terms in each word, multiplied and summed in fp32 by one instruction, which treats
// numbers below 2^-126 as zero.
struct PairMath : SingleMath {
  static constexpr int kTerms = 2, kProducts = 2;
  static float word(Bf16 first, Bf16 second) {
    return float_from_bits(uint32_t(first.bits) | uint32_t(second.bits) << 16);
  }
  static Vector add_product(Vector sum, Vector panel, Vector row) {
    return (Vector)_mm512_dpbf16_ps((__m512)sum, (__m512bh)panel, (__m512bh)row);
  }
};
#else
using PairMath = SingleMath;
#endif

// Two words are a double.
struct DoubleMath : SingleMath {
  static constexpr int kUnit = 2;
  static Vector add_product(Vector sum, Vector panel, Vector row) {
    typedef double Doubles __attribute__((vector_size(kLanes * 4)));
    return (Vector)((Doubles)sum + (Doubles)panel * (Doubles)row);
  }
};

// Vectors of the lanes that Pick::lane names in the concatenation of two vectors.
template <class Pick, size_t... kLane>
inline Vector pick_lanes(Vector first, Vector second, std::index_sequence<kLane...>) {
#if defined(__clang__)
  return __builtin_shufflevector(first, second, Pick::lane(kLane)...);
#else
  typedef int32_t Indices __attribute__((vector_size(kLanes * 4)));
  return __builtin_shuffle(first, second, Indices{Pick::lane(kLane)...});
#endif
}
template <class Pick>
inline Vector pick(Vector first, Vector second) {
  return pick_lanes<Pick>(first, second, std::make_index_sequence<kLanes>());
}

// The lanes of complex numbers: both hold the real part, both the imaginary part, or they are exchanged.
struct RealTwice {
  static constexpr int lane(int lane) { return lane & ~1; }
};
struct ImaginaryTwice {
  static constexpr int lane(int lane) { return lane | 1; }
};
struct Exchanged {
  static constexpr int lane(int lane) { return lane ^ 1; }
};

// Two words are a complex number: a row's number times (re, im) is its real part times (re, im) plus its
// imaginary part times (-im, re). Each part has a pass: both forms of a step's vectors at once, besides the
// sums, would exceed the registers.
struct ComplexMath : SingleMath {
  static constexpr int kUnit = 2, kProducts = 2, kPasses = 2;
  template <int kPass>
  static Vector column(Vector panel) {
    if constexpr (kPass == 0) return panel;
    typedef uint32_t Words __attribute__((vector_size(kLanes * 4)));
    Words signs{};
    for (int lane = 0; lane < kLanes; lane += 2) signs[lane] = 0x80000000u;
    return (Vector)((Words)pick<Exchanged>(panel, panel) ^ signs);
  }
  template <int kPeriod, int kPass>
  static Vector row(const float* from) {
    if constexpr (kPeriod == kUnit) return repeat<1>(from + kPass);
    const Vector both = repeat<kPeriod>(from);
    if constexpr (kPass == 0) return pick<RealTwice>(both, both);
    return pick<ImaginaryTwice>(both, both);
  }
};

template <class Element>
struct MathOf {
  using Type = SingleMath;
};
template <>
struct MathOf<Fp64> {
  using Type = DoubleMath;
};
template <>
struct MathOf<Complex64> {
  using Type = ComplexMath;
};
template <>
struct MathOf<Bf16> {
  using Type = PairMath;
};

// The word with term l and, if a word holds two terms and the term exists, l + 1.
template <class Math, class Element>
inline float word_at(const Element* first, int64_t stride, int64_t l, int64_t c) {
  if (Math::kTerms == 1) return Math::word(*first, Element{});
  return Math::word(*first, l + 1 < c ? first[stride] : Element{});
}
