// Checked access to global and shared memory.
#pragma once

#include "lanes.hpp"

namespace ptx {

/// The array that holds these bytes; null if none does.
const Region* find_region(const Run& run, u64 address, u64 bytes);

bool read_global(Block& block, int thread, u64 address, u32 bytes, void* to, u32 align);
void write_global(Block& block, int thread, u64 address, u32 bytes, const void* from, u32 align);

/// Shared memory of some block of the cluster.
struct Place {
  Block* block;
  u32 address;
};

/// The block and address of a shared::cluster address; a null block (with a fault) if there is none.
Place find_place(Warp& warp, int lane, u32 address);
/// Without the window of the generic address space.
inline u64 without_window(u64 address) {
  return (address & WINDOW_MASK) == SHARED_WINDOW ? address & ~WINDOW_MASK : address;
}
/// The shared::cluster or shared::cta address of an operand.
inline u32 shared_address(Warp& warp, const Operand& operand, int lane, s64 offset) {
  return u32(without_window(value_of(warp, operand, lane) + u64(offset)));
}

/// Whether the bytes lie within the block's shared memory; reports if not, or if misaligned.
bool check_bounds(Block& block, int thread, u32 address, u32 bytes, u32 align, const char* access);

/// Checks and records a read or write by the generic proxy.
void note_read(Warp& warp, int lane, Block& block, u32 address, u32 bytes);
void note_write(Warp& warp, int lane, Block& block, u32 address, u32 bytes, bool lands = false);

// The async proxy ("Async Proxy"): bulk copies and wgmma.

enum class Reader : u8 { wgmma, store };
/// Checks a read by the async proxy and marks its bytes as being read.
void begin_async_read(Warp& warp, int lane, Block& block, u32 address, u32 bytes, Reader reader);
/// Ends it; from now on it counts as a read by the warp.
void end_async_read(Warp& warp, int lane, Block& block, u32 address, u32 bytes);
/// Checks that a write by the async proxy may begin, and marks its bytes as in flight.
void begin_async_write(Warp& warp, int lane, Block& block, u32 address, u32 bytes);

/// Where a 16-byte unit of a tile lies with a swizzle over spans of so many bytes ("Shared Memory Layout").
inline u32 swizzled(u32 address, u32 span_bytes) {
  if (span_bytes == 0) return address;
  return address ^ ((address >> 7 & (span_bytes / 16 - 1)) << 4);
}

}  // namespace ptx
