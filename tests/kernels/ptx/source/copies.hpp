// What the scheduler must know of asynchronous copies.
#pragma once

#include "barriers.hpp"

namespace ptx {

/// What a tensor map's 128 opaque bytes hold here; written by the tests' stand-in for cuTensorMapEncodeTiled.
struct TensorMap {
  static constexpr u64 MAGIC = 0x50414d524f534e54ull;
  u64 magic, address;
  u64 strides[4];  // bytes, of all axes but the first
  u32 last[5];     // greatest coordinate of each axis
  u16 box[5];
  u8 rank, element_bytes;
  u8 swizzle;  // bytes of a span
  u8 rounds_to_tf32;
};
static_assert(sizeof(TensorMap) <= 128, "a tensor map has 128 bytes");

/// Lets the bytes of a bulk load arrive.
void land_load(Cluster& cluster, size_t index);
/// Reports copies that nobody waited for, and completes the stores.
void finish_copies(Block& block);

}  // namespace ptx
