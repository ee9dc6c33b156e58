// Numbers of eight bits as bf16, which holds each of them exactly: e4m3 and e5m2 (OCP 8-bit floating point, 1.0).
#pragma once

#include <cstdint>
#include <cstring>

enum EightBits : int32_t { kE4m3, kE5m2 };

constexpr int64_t kWidenedAlone = 1 << 16;  // at most so many are left to one thread

inline float float_of(uint32_t bits) {
  float value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

// The exponent is moved to that of a float; where it is 0 the leading one that a float would have is
// subtracted again. e4m3 has a NaN and no infinity, e5m2 has both as a float has.
template <int32_t kFormat>
inline uint16_t widened(uint8_t bits) {
  constexpr uint32_t kFraction = kFormat == kE4m3 ? 3 : 2, kBias = kFormat == kE4m3 ? 120 : 112;
  const uint32_t size = bits & 0x7f, moved = size << (23 - kFraction);
  const float tiny = float_of(moved + ((kBias + 1) << 23)) - float_of((kBias + 1) << 23);
  uint32_t tiny_bits;
  std::memcpy(&tiny_bits, &tiny, sizeof tiny);
  uint32_t value = size < (1u << kFraction) ? tiny_bits : moved + (kBias << 23);
  if (kFormat == kE4m3) {
    value = size == 0x7f ? 0x7fc00000u : value;
  } else {
    value = size >= 0x7c ? moved | 0x7f800000u : value;
  }
  return static_cast<uint16_t>(value >> 16 | (bits & 0x80u) << 8);
}

template <int32_t kFormat>
void widen(const uint8_t* from, uint16_t* to, int64_t count, int32_t threads) {
#pragma omp parallel for simd num_threads(threads) schedule(static) if (count > kWidenedAlone)
  for (int64_t at = 0; at < count; ++at) to[at] = widened<kFormat>(from[at]);
}
