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

inline uint32_t round_to_tf32(uint32_t bits) { return (bits + 0x1000u) & ~0x1fffu; }

namespace host {

/// A sum as computed by tensor cores: the addends are aligned to the largest one, and bits more than GUARD
/// bits below its fp32 precision are truncated before the addition; the sum is truncated as well.
template <int COUNT>
float add_as_tensor_cores(const double (&addends)[COUNT]) {
  constexpr int GUARD = 1;  // on Ampere; Hopper has more
  int largest = -1000;
  for (double addend : addends) {
    if (!std::isfinite(addend)) largest = 2000;
    if (addend != 0 && largest < 2000) largest = std::max(largest, std::ilogb(addend));
  }
  double sum = 0;
  for (double addend : addends) {
    sum += largest == 2000 ? addend : std::ldexp(std::trunc(std::ldexp(addend, 23 + GUARD - largest)), largest - 23 - GUARD);
  }
  const float nearest = static_cast<float>(sum);
  if (!std::isfinite(nearest) || std::fabs(static_cast<double>(nearest)) <= std::fabs(sum)) return nearest;
  return std::nextafter(nearest, 0.0f);
}

/// The value that mma reads from a 32-bit word of a fragment.
struct HalfPair {
  static constexpr int PER_WORD = 2;
  static float element(uint32_t word, int p) { return half_to_float(static_cast<uint16_t>(word >> 16 * p)); }
};
struct BrainPair {
  static constexpr int PER_WORD = 2;
  static float element(uint32_t word, int p) { return as_float(word >> 16 * p << 16); }
};
/// The tensor cores ignore the last 13 bits: an operand that was not rounded is truncated.
struct Tf32Word {
  static constexpr int PER_WORD = 1;
  static float element(uint32_t word, int) { return as_float(word & ~0x1fffu); }
};

}  // namespace host
}  // namespace ks
