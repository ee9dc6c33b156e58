// Memory layouts of wgmma and TMA: pure functions that also compile for the host, where tests compare them
// with a model of the manual (PTX ISA, "Asynchronous Warpgroup Level Matrix Shared Memory Layout" and
// "Register Fragments"; the 128-byte swizzle of both).
#pragma once

#include <cstdint>

#ifdef __CUDACC__
#define KS_MAP __host__ __device__ constexpr
#else
#define KS_MAP constexpr
#endif

namespace ks::hopper {

constexpr int SPAN_BYTES = 128;               // a row of a tile in shared memory
constexpr int ATOM_BYTES = 8 * SPAN_BYTES;    // the period of the swizzle and alignment of tiles
constexpr int DEPTH_BYTES = 32;               // columns of K in one instruction: 16, 8 in tf32, 32 in fp8

/// A matrix descriptor with the 128-byte swizzle. `leading` is the distance between chunks of SPAN_BYTES if
/// rows are not along K, and is ignored otherwise; `stride` is the distance between groups of eight rows.
KS_MAP uint64_t descriptor(uint32_t address, uint32_t leading_bytes, uint32_t stride_bytes) {
  return uint64_t{(address & 0x3ffff) >> 4} | uint64_t{(leading_bytes & 0x3ffff) >> 4} << 16 |
         uint64_t{(stride_bytes & 0x3ffff) >> 4} << 32 | uint64_t{1} << 62;
}

/// Distance from the columns of one instruction to the next: along a row or, for 16 bits only, 16 rows.
KS_MAP uint32_t next_depth_bytes(bool along_rows) {
  return along_rows ? DEPTH_BYTES : DEPTH_BYTES / 2 * SPAN_BYTES;
}

/// Row and column of sum `u` of a thread of a warpgroup, in D of m64nN.
KS_MAP int sum_row(int thread, int u) { return thread / 32 % 4 * 16 + thread % 32 / 4 + u / 2 % 2 * 8; }
KS_MAP int sum_column(int thread, int u) { return u / 4 * 8 + thread % 4 * 2 + u % 2; }

/// Offset of a byte of a row in a box that TMA reads from shared memory: eight rows permute their 16-byte units.
KS_MAP uint32_t box_offset(int row, uint32_t byte) {
  return row * SPAN_BYTES + ((byte / 16 ^ row % 8) * 16) + byte % 16;
}

}  // namespace ks::hopper
