// Number formats ("Fundamental Types", "Alternate Floating-Point Data Formats") and their roundings.
#pragma once

#include <cmath>

#include "program.hpp"

namespace ptx {

inline float float_of_bits(u32 bits) {
  float value;
  memcpy(&value, &bits, 4);
  return value;
}
inline u32 bits_of_float(float value) {
  u32 bits;
  memcpy(&bits, &value, 4);
  return bits;
}

inline float brain_to_float(u16 bits) { return float_of_bits(u32(bits) << 16); }

/// The tensor cores ignore the last 13 bits of a tf32 operand.
inline float tf32_operand(u32 bits) { return float_of_bits(bits & ~0x1fffu); }

inline float half_to_float(u16 bits) {
  const u32 sign = u32(bits & 0x8000) << 16, exponent = bits >> 10 & 31, fraction = bits & 0x3ff;
  if (exponent == 31) return float_of_bits(sign | 0x7f800000 | fraction << 13);
  if (exponent) return float_of_bits(sign | (exponent + 112) << 23 | fraction << 13);
  const float value = float(fraction) * 0x1p-24f;
  return sign ? -value : value;
}

/// The nearest number with `fraction` bits after the point and a least exponent, ties to even; as a magnitude
/// in units of the last place of the least exponent's numbers, encoded as exponent and fraction.
inline u32 round_magnitude(double magnitude, int fraction, int least_exponent) {
  if (magnitude == 0) return 0;
  int exponent;
  std::frexp(magnitude, &exponent);
  exponent = std::max(exponent - 1, least_exponent);
  u32 units = u32(std::nearbyint(std::ldexp(magnitude, fraction - exponent)));
  if (exponent == least_exponent && units < (1u << fraction)) return units;  // subnormal
  // A carry out of the fraction increments the exponent.
  return units + (u32(exponent - least_exponent) << fraction);
}

inline u16 float_to_half(float value) {
  if (std::isnan(value)) return 0x7fff;
  const u16 sign = std::signbit(value) ? 0x8000 : 0;
  const double magnitude = std::fabs(double(value));
  if (magnitude >= 65520.0) return sign | 0x7c00;
  return sign | u16(round_magnitude(magnitude, 10, -14));
}

inline u16 float_to_brain(float value) {
  if (std::isnan(value)) return 0x7fff;
  const u32 bits = bits_of_float(value);
  return u16((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

/// "cvt.rna": nearest, ties away from zero.
inline u32 float_to_tf32(float value) {
  if (std::isnan(value)) return 0x7fffffff;
  const u32 bits = bits_of_float(value);
  return std::isinf(value) ? bits : (bits + 0x1000) & ~0x1fffu;
}

/// e4m3 has no infinity and one NaN (0x7f); its greatest number is 448.
inline float e4m3_to_float(u8 bits) {
  const int exponent = bits >> 3 & 15, fraction = bits & 7;
  if ((bits & 0x7f) == 0x7f) return NAN;
  const float value =
      exponent ? std::ldexp(float(8 + fraction), exponent - 10) : std::ldexp(float(fraction), -9);
  return bits & 0x80 ? -value : value;
}
/// e5m2 is the upper byte of an fp16 number; its greatest number is 57,344.
inline float e5m2_to_float(u8 bits) { return half_to_float(u16(bits << 8)); }

/// ".satfinite": out of range becomes the greatest number.
inline u8 float_to_e4m3(float value) {
  if (std::isnan(value)) return 0x7f;
  const u8 sign = std::signbit(value) ? 0x80 : 0;
  return sign | u8(std::min(round_magnitude(std::min(std::fabs(double(value)), 448.0), 3, -6), 0x7eu));
}
inline u8 float_to_e5m2(float value) {
  if (std::isnan(value)) return 0x7f;
  const u8 sign = std::signbit(value) ? 0x80 : 0;
  return sign | u8(std::min(round_magnitude(std::min(std::fabs(double(value)), 57344.0), 2, -14), 0x7bu));
}

inline float operand_to_float(Format format, u32 bits) {
  switch (format) {
    case Format::f16:
      return half_to_float(u16(bits));
    case Format::bf16:
      return brain_to_float(u16(bits));
    case Format::tf32:
      return tf32_operand(bits);
    case Format::e4m3:
      return e4m3_to_float(u8(bits));
    default:
      return e5m2_to_float(u8(bits));
  }
}

/// The format of this name in an opcode; false for any other.
inline bool find_format(const std::string& name, Format& format) {
  static const std::map<std::string, Format> names = {{"f16", Format::f16},
                                                      {"bf16", Format::bf16},
                                                      {"tf32", Format::tf32},
                                                      {"e4m3", Format::e4m3},
                                                      {"e5m2", Format::e5m2}};
  const auto found = names.find(name);
  if (found == names.end()) return false;
  format = found->second;
  return true;
}

}  // namespace ptx
