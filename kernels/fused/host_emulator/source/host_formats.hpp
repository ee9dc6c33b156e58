// Number formats on the CPU, so that the emulation needs no CUDA header.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>

namespace ks {

inline float as_float(uint32_t bits) {
  float value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

inline uint32_t as_bits(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  return bits;
}

inline float half_to_float(uint16_t bits) {
  const int exponent = bits >> 10 & 31, fraction = bits & 1023;
  const float sign = bits >> 15 ? -1.0f : 1.0f;
  if (exponent == 31) return fraction ? NAN : sign * INFINITY;
  if (exponent == 0) return sign * std::ldexp(static_cast<float>(fraction), -24);
  return sign * std::ldexp(static_cast<float>(fraction + 1024), exponent - 25);
}

/// Rounds to nearest, ties to even; above 65,504 to infinity.
inline uint16_t float_to_half(float value) {
  const uint16_t sign = as_bits(value) >> 16 & 0x8000;
  const float size = std::fabs(value);
  if (std::isnan(value)) return sign | 0x7e00;
  if (size >= 65520.0f) return sign | 0x7c00;
  if (size < std::ldexp(1.0f, -14)) return sign | static_cast<uint16_t>(std::nearbyint(std::ldexp(size, 24)));
  const uint32_t bits = as_bits(size);
  const uint32_t rounded = bits + 0xfff + (bits >> 13 & 1);
  return sign | static_cast<uint16_t>((rounded - (112u << 23)) >> 13);
}

/// Rounds to nearest, ties to even; NaN stays NaN.
inline uint16_t float_to_brain(float value) {
  const uint32_t bits = as_bits(value);
  if (std::isnan(value)) return 0x7fff;
  return static_cast<uint16_t>((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

inline uint32_t choose_bytes(uint32_t low, uint32_t high, uint32_t numbers) {
  const uint64_t bytes = uint64_t{high} << 32 | low;
  uint32_t chosen = 0;
  for (int place = 0; place < 4; ++place) {
    chosen |= static_cast<uint32_t>(bytes >> 8 * (numbers >> 4 * place & 7) & 0xff) << 8 * place;
  }
  return chosen;
}

inline uint32_t round_to_tf32(uint32_t bits) { return (bits + 0x1000u) & ~0x1fffu; }

namespace host {

/// A sum as computed by tensor cores: the addends are aligned to the largest one, and bits below BITS bits
/// after its first one are truncated before the addition; the sum is truncated to fp32 as well.
template <int BITS, int COUNT>
float add_as_tensor_cores(const double (&addends)[COUNT]) {
  int largest = -1000;
  for (double addend : addends) {
    if (!std::isfinite(addend)) largest = 2000;
    if (addend != 0 && largest < 2000) largest = std::max(largest, std::ilogb(addend));
  }
  double sum = 0;
  for (double addend : addends) {
    sum += largest == 2000 ? addend : std::ldexp(std::trunc(std::ldexp(addend, BITS - largest)), largest - BITS);
  }
  const float nearest = static_cast<float>(sum);
  if (!std::isfinite(nearest) || std::fabs(static_cast<double>(nearest)) <= std::fabs(sum)) return nearest;
  return std::nextafter(nearest, 0.0f);
}

constexpr int GUARDED_BITS = 24;  // one more than fp32 has, on Ampere; Hopper has more
constexpr int HOPPER_FP8_BITS = 13;

/// The value that mma reads from a 32-bit word of a fragment, and the bits of a sum after the first one.
struct HalfPair {
  static constexpr int PER_WORD = 2, SUM_BITS = GUARDED_BITS;
  static float element(uint32_t word, int p) { return half_to_float(static_cast<uint16_t>(word >> 16 * p)); }
};
struct BrainPair {
  static constexpr int PER_WORD = 2, SUM_BITS = GUARDED_BITS;
  static float element(uint32_t word, int p) { return as_float(word >> 16 * p << 16); }
};
/// The tensor cores ignore the last 13 bits: an operand that was not rounded is truncated.
struct Tf32Word {
  static constexpr int PER_WORD = 1, SUM_BITS = GUARDED_BITS;
  static float element(uint32_t word, int) { return as_float(word & ~0x1fffu); }
};
/// Four numbers of eight bits: e4m3, which has no infinity and two NaN, or e5m2, the first half of a float16.
template <int EXPONENT_BITS>
struct Fp8Four {
  static constexpr int PER_WORD = 4, SUM_BITS = HOPPER_FP8_BITS;
  static float element(uint32_t word, int p) {
    const uint32_t bits = word >> 8 * p & 0xff;
    if (EXPONENT_BITS == 5) return half_to_float(static_cast<uint16_t>(bits << 8));
    const int exponent = bits >> 3 & 15, fraction = bits & 7;
    const float sign = bits >> 7 ? -1.0f : 1.0f;
    if (exponent == 15 && fraction == 7) return NAN;
    if (exponent == 0) return sign * std::ldexp(static_cast<float>(fraction), -9);
    return sign * std::ldexp(static_cast<float>(fraction + 8), exponent - 10);
  }
};

}  // namespace host
}  // namespace ks
