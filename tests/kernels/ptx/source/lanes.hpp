// Access to the registers of a warp's lanes.
#pragma once

#include "machine.hpp"

namespace ptx {

/// Calls `body(lane)` for each lane of the mask; a full mask becomes a loop that can be vectorised.
template <class Body>
inline void for_lanes(u32 mask, Body body) {
  if (mask == FULL_MASK) {
    for (int lane = 0; lane < LANES; ++lane) body(lane);
  } else {
    for (u32 rest = mask; rest; rest &= rest - 1) body(__builtin_ctz(rest));
  }
}

/// The unsigned type of the register that holds a T.
template <class T>
using Slot = std::conditional_t<sizeof(T) == 8, u64, u32>;

template <class T>
inline T from_slot(Slot<T> bits) {
  T value;
  memcpy(&value, &bits, sizeof value);
  return value;
}
template <class T>
inline Slot<T> to_slot(T value) {
  Slot<T> bits = 0;
  memcpy(&bits, &value, sizeof value);
  return bits;
}

/// The handler of instructions without an effect here.
inline void do_nothing(Warp&, const Instruction&, u32) {}

inline u64 value_of(Warp& warp, const Operand& operand, int lane) {
  if (operand.kind == Operand::Kind::constant) return operand.value;
  return operand.bits == 64 ? warp.at<u64>(operand.slot)[lane] : warp.at<u32>(operand.slot)[lane];
}

}  // namespace ptx
