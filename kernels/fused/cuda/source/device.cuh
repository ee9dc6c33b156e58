// The operations that only a GPU has, as a small set of functions.
//
// The kernel uses only these, so the same source also compiles with g++ against host_device.hpp, which
// runs it on the CPU and checks every access.
#pragma once

#ifndef __CUDACC__
#include "host_device.hpp"
#else

#include <cstdint>

#define KS_DEVICE __device__ __forceinline__
#define KS_UNROLL _Pragma("unroll")
#define KS_PRAGMA(text) _Pragma(#text)
#define KS_UNROLL_BY(count) KS_PRAGMA(unroll count)

namespace ks {

// ---- thread and block index ------------------------------------------------------------------

KS_DEVICE int thread_index() { return threadIdx.x; }
KS_DEVICE unsigned block_index() { return blockIdx.x; }
KS_DEVICE void barrier() { __syncthreads(); }

/// The block's dynamic shared memory; its size is set at the launch.
KS_DEVICE char* shared_memory() {
  extern __shared__ __align__(16) char memory[];
  return memory;
}

// ---- plain accesses --------------------------------------------------------------------------

template <class V>
KS_DEVICE V load_shared(const void* from) { return *static_cast<const V*>(from); }

template <class V>
KS_DEVICE void store_shared(void* to, V value) { *static_cast<V*>(to) = value; }

template <class V>
KS_DEVICE V load_global(const void* from) { return *static_cast<const V*>(from); }

template <class V>
KS_DEVICE void store_global(void* to, V value) { *static_cast<V*>(to) = value; }

// ---- asynchronous copies, global to shared ---------------------------------------------------

/// Starts a copy of BYTES (4, 8 or 16, with both sides aligned accordingly), or of zeros if not `valid`;
/// the data may arrive at any time up to the `wait_copies` that covers its group.
template <int BYTES>
KS_DEVICE void copy_async(void* to, const void* from, bool valid) {
#if __CUDA_ARCH__ >= 800
  const unsigned address = static_cast<unsigned>(__cvta_generic_to_shared(to));
  const int read = valid ? BYTES : 0;
  if constexpr (BYTES == 16) {
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(address), "l"(from), "r"(read));
  } else {
    asm volatile("cp.async.ca.shared.global [%0], [%1], %2, %3;" ::"r"(address), "l"(from), "n"(BYTES),
                 "r"(read));
  }
#else
  struct alignas(BYTES) Bytes { unsigned words[BYTES / 4]; };
  store_shared(to, valid ? load_global<Bytes>(from) : Bytes{});
#endif
}

/// Ends a group of copies.
KS_DEVICE void commit_copies() {
#if __CUDA_ARCH__ >= 800
  asm volatile("cp.async.commit_group;" ::: "memory");
#endif
}

/// Waits until at most the newest PENDING groups of this thread are in flight.
template <int PENDING>
KS_DEVICE void wait_copies() {
#if __CUDA_ARCH__ >= 800
  asm volatile("cp.async.wait_group %0;" ::"n"(PENDING) : "memory");
#endif
}

// ---- clusters of blocks, from sm_90 on ---------------------------------------------------------

/// A barrier of all threads of a cluster; what they wrote before is visible to all of them.
KS_DEVICE void cluster_barrier() {
#if __CUDA_ARCH__ >= 900
  asm volatile("barrier.cluster.arrive.release;" ::: "memory");
  asm volatile("barrier.cluster.wait.acquire;" ::: "memory");
#endif
}

/// Writes one, two or four words to the shared memory of a block of the cluster, at the place of `to` in that
/// of this block.
template <class V>
KS_DEVICE void store_shared_of(unsigned rank, void* to, V value) {
#if __CUDA_ARCH__ >= 900
  uint32_t words[sizeof(V) / 4], there;
  memcpy(words, &value, sizeof(V));
  const unsigned here = static_cast<unsigned>(__cvta_generic_to_shared(to));
  asm("mapa.shared::cluster.u32 %0, %1, %2;" : "=r"(there) : "r"(here), "r"(rank));
  if constexpr (sizeof(V) == 4) {
    asm volatile("st.shared::cluster.b32 [%0], %1;" ::"r"(there), "r"(words[0]) : "memory");
  } else if constexpr (sizeof(V) == 8) {
    asm volatile("st.shared::cluster.v2.b32 [%0], {%1, %2};" ::"r"(there), "r"(words[0]), "r"(words[1])
                 : "memory");
  } else {
    asm volatile("st.shared::cluster.v4.b32 [%0], {%1, %2, %3, %4};" ::"r"(there), "r"(words[0]),
                 "r"(words[1]), "r"(words[2]), "r"(words[3]) : "memory");
  }
#endif
}

// ---- number formats --------------------------------------------------------------------------

KS_DEVICE float as_float(uint32_t bits) { return __uint_as_float(bits); }
KS_DEVICE uint32_t as_bits(float value) { return __float_as_uint(value); }

KS_DEVICE float half_to_float(uint16_t bits) {
  float value;
  asm("cvt.f32.f16 %0, %1;" : "=f"(value) : "h"(bits));
  return value;
}

KS_DEVICE uint16_t float_to_half(float value) {
  uint16_t bits;
  asm("cvt.rn.f16.f32 %0, %1;" : "=h"(bits) : "f"(value));
  return bits;
}

/// Rounds to nearest, ties to even; with integer arithmetic where there is no instruction for it.
KS_DEVICE uint16_t float_to_brain(float value) {
#if __CUDA_ARCH__ >= 800
  uint16_t brain;
  asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(brain) : "f"(value));
  return brain;
#else
  const uint32_t bits = as_bits(value);
  if ((bits & 0x7fffffffu) > 0x7f800000u) return 0x7fff;  // NaN
  return static_cast<uint16_t>((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
#endif
}

/// The nearest number with 10 bits of mantissa (ties away from zero), as an fp32 pattern.
KS_DEVICE uint32_t round_to_tf32(uint32_t bits) {
#if __CUDA_ARCH__ >= 800
  uint32_t rounded;
  asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(rounded) : "f"(as_float(bits)));
  return rounded;
#else
  return bits;
#endif
}

/// Four of the eight bytes of (low, high), each by its number in one hexadecimal digit, the first one last.
KS_DEVICE uint32_t choose_bytes(uint32_t low, uint32_t high, uint32_t numbers) {
  return __byte_perm(low, high, numbers);
}

// ---- warp instructions -----------------------------------------------------------------------

/// Loads four 8×8 matrices of 16-bit elements: lane 8q + r gives the address of row r (16 bytes) of matrix
/// q, and lane L receives elements 2(L%4), 2(L%4)+1 of row L/4, or of column L/4 if TRANSPOSED (PTX,
/// ldmatrix).
template <bool TRANSPOSED>
KS_DEVICE void load_matrices(uint32_t (&to)[4], const void* row) {
  const unsigned address = static_cast<unsigned>(__cvta_generic_to_shared(row));
  if constexpr (TRANSPOSED) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3]) : "r"(address));
  } else {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3]) : "r"(address));
  }
}

#define KS_MMA(shape_and_types)                                                                        \
  asm volatile("mma.sync.aligned." shape_and_types " {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};" \
               : "+f"(sum[0]), "+f"(sum[1]), "+f"(sum[2]), "+f"(sum[3])                                \
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1))

/// sum += A B on the tensor cores: A 16×16, B 16×8, fp32 sums (PTX, mma.m16n8k16).
KS_DEVICE void mma_half(float (&sum)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
  KS_MMA("m16n8k16.row.col.f32.f16.f16.f32");
}
KS_DEVICE void mma_brain(float (&sum)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
  KS_MMA("m16n8k16.row.col.f32.bf16.bf16.f32");
}
/// The same with A 16×8 and B 8×8 in tf32 (PTX, mma.m16n8k8).
KS_DEVICE void mma_tf32(float (&sum)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
  KS_MMA("m16n8k8.row.col.f32.tf32.tf32.f32");
}

/// The same with A 16×32 and B 32×8 in fp8, from sm_89 on (PTX, mma.m16n8k32).
KS_DEVICE void mma_e4m3(float (&sum)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
  KS_MMA("m16n8k32.row.col.f32.e4m3.e4m3.f32");
}
KS_DEVICE void mma_e4m3_by_e5m2(float (&sum)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
  KS_MMA("m16n8k32.row.col.f32.e4m3.e5m2.f32");
}

}  // namespace ks
#endif
