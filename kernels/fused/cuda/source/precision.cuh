// The precisions: the storage of an element, its sums, and the multiplication on the tensor cores.
#pragma once

#include "device.cuh"

namespace ks {

struct Half { uint16_t bits; };
struct Brain { uint16_t bits; };
struct Eighth { uint8_t bits; };  // e4m3 or e5m2, which only the tensor cores read

KS_DEVICE float to_float(float value) { return value; }
KS_DEVICE float to_float(Half value) { return half_to_float(value.bits); }
KS_DEVICE float to_float(Brain value) { return as_float(uint32_t{value.bits} << 16); }

KS_DEVICE void from_float(float value, float& to) { to = value; }
KS_DEVICE void from_float(float value, Half& to) { to.bits = float_to_half(value); }
KS_DEVICE void from_float(float value, Brain& to) { to.bits = float_to_brain(value); }

/// A complex number as torch stores it.
struct alignas(8) Complex {
  float re, im;
  KS_DEVICE Complex& operator+=(const Complex& other) { return re += other.re, im += other.im, *this; }
};

/// The type in which products of elements are summed.
template <class E>
struct SumOf { using Type = float; };
template <>
struct SumOf<double> { using Type = double; };
template <>
struct SumOf<Complex> { using Type = Complex; };

KS_DEVICE void add_product(float& sum, float w, float x) { sum += w * x; }
KS_DEVICE void add_product(double& sum, double w, double x) { sum += w * x; }
/// Four real products, each added to its sum at once.
KS_DEVICE void add_product(Complex& sum, const Complex& w, const Complex& x) {
  sum.re += w.re * x.re;
  sum.im += w.re * x.im;
  sum.re -= w.im * x.im;
  sum.im += w.im * x.re;
}

template <class E>
KS_DEVICE typename SumOf<E>::Type to_sum(const E& value) {
  if constexpr (sizeof(E) < 8) return to_float(value);
  else return value;
}

template <class E>
KS_DEVICE void from_sum(const typename SumOf<E>::Type& value, E& to) {
  if constexpr (sizeof(E) < 8) from_float(value, to);
  else to = value;
}

/// COUNT neighbours that are read or written in one access.
template <class E, int COUNT>
struct alignas(sizeof(E) * COUNT) Vector { E at[COUNT]; };

/// 32 bits of a fragment: one fp32 or tf32 element, or two of 16 bits.
struct alignas(16) Words { uint32_t at[4]; };

/// An fp32 number as the sum of two tf32 numbers for the tensor cores, with a relative error of at most 2^-23.
/// The small part of infinity is not a number, so the result may be NaN where plain fp32 gives infinity.
struct Parts { uint32_t big, small; };

/// Uses integer arithmetic, since the rounding instruction compiles to four: the big part is rounded to
/// nearest, so the small part has either sign and the tensor cores truncate its last bit without a bias.
/// A NaN stays NaN in the small part.
KS_DEVICE Parts split(uint32_t bits) {
  const uint32_t big = (bits + 0x1000u) & ~0x1fffu;
  return {big, as_bits(as_float(bits) - as_float(big))};
}

/// The differences between precisions: the storage, the tensor-core instruction, the rounding of X.
///
/// SPLIT: an element is split into two parts for the tensor cores; their products are added in fp32.
/// SCALED: each row of K has a scale, by which its sums are multiplied; Y and the bias are of type Output.
struct fp32 {
  using Element = float;
  using Output = float;
  static constexpr bool SPLIT = true, SCALED = false;
  KS_DEVICE static void mma(float (&sum)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
    mma_tf32(sum, a, b0, b1);
  }
};
struct tf32 {
  using Element = float;
  using Output = float;
  static constexpr bool SPLIT = false, SCALED = false;
  KS_DEVICE static uint32_t round(uint32_t bits) { return round_to_tf32(bits); }
  KS_DEVICE static void mma(float (&sum)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
    mma_tf32(sum, a, b0, b1);
  }
};
struct fp16 {
  using Element = Half;
  using Output = Half;
  static constexpr bool SPLIT = false, SCALED = false;
  KS_DEVICE static uint32_t round(uint32_t bits) { return bits; }
  KS_DEVICE static void mma(float (&sum)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
    mma_half(sum, a, b0, b1);
  }
};
struct bf16 {
  using Element = Brain;
  using Output = Brain;
  static constexpr bool SPLIT = false, SCALED = false;
  KS_DEVICE static uint32_t round(uint32_t bits) { return bits; }
  KS_DEVICE static void mma(float (&sum)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
    mma_brain(sum, a, b0, b1);
  }
};
/// Weights in e4m3. Hopper's tensor cores keep only some 14 bits of sums of fp8.
struct fp8 {
  using Element = Eighth;
  using Output = Brain;
  static constexpr bool SPLIT = false, SCALED = true;
  KS_DEVICE static uint32_t round(uint32_t bits) { return bits; }
  KS_DEVICE static void mma(float (&sum)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
    mma_e4m3(sum, a, b0, b1);
  }
};
/// The same with X in e5m2.
struct fp8_wide : fp8 {
  KS_DEVICE static void mma(float (&sum)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
    mma_e4m3_by_e5m2(sum, a, b0, b1);
  }
};

/// On CUDA cores alone.
struct fp64 {
  using Element = double;
  using Output = double;
  static constexpr bool SPLIT = false, SCALED = false;
};
struct complex64 {
  using Element = Complex;
  using Output = Complex;
  static constexpr bool SPLIT = false, SCALED = false;
};

}  // namespace ks
