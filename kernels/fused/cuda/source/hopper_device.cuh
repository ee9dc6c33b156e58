// The operations of sm_90a: TMA copies counted by an mbarrier, and warpgroup products.
#pragma once

#include "precision.cuh"

namespace ks::hopper {

/// A CUtensorMap: opaque, made by the driver, passed as the kernel's first parameter.
struct alignas(128) TensorMap { char bytes[128]; };

KS_DEVICE uint32_t shared_address(const void* at) {
  return static_cast<uint32_t>(__cvta_generic_to_shared(at));
}

// ---- mbarriers: one arrival and an expected number of bytes per phase --------------------------

KS_DEVICE void start_counting(uint64_t* barrier) {
  asm volatile("mbarrier.init.shared::cta.b64 [%0], 1;" ::"r"(shared_address(barrier)) : "memory");
}

/// Called after every `start_counting` and before the first copy.
KS_DEVICE void publish_counters() {
  asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
  asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
}

KS_DEVICE void expect(uint64_t* barrier, uint32_t bytes) {
  asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(shared_address(barrier)),
               "r"(bytes) : "memory");
}

KS_DEVICE void wait(uint64_t* barrier, uint32_t parity) {
  asm volatile(
      "{\n"
      ".reg .pred done;\n"
      "again:\n"
      "mbarrier.try_wait.parity.shared::cta.b64 done, [%0], %1;\n"
      "@!done bra again;\n"
      "}" ::"r"(shared_address(barrier)), "r"(parity) : "memory");
}

// ---- copies ----------------------------------------------------------------------------------

/// Copies contiguous memory, a multiple of 16 bytes.
KS_DEVICE void copy_bulk(void* to, const void* from, uint32_t bytes, uint64_t* barrier) {
  asm volatile("cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1], %2, [%3];" ::"r"(
                   shared_address(to)), "l"(from), "r"(bytes), "r"(shared_address(barrier)) : "memory");
}

/// Copies a box of the map at these coordinates, with zeros outside the tensor.
KS_DEVICE void copy_box(void* to, const TensorMap* map, int c0, int c1, int c2, int c3, uint64_t* barrier) {
  asm volatile(
      "cp.async.bulk.tensor.4d.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1, {%2, %3, %4, %5}], "
      "[%6];" ::"r"(shared_address(to)), "l"(map), "r"(c0), "r"(c1), "r"(c2), "r"(c3),
      "r"(shared_address(barrier)) : "memory");
}

// ---- products of a warpgroup -----------------------------------------------------------------

KS_DEVICE void fence_sums() { asm volatile("wgmma.fence.sync.aligned;" ::: "memory"); }
KS_DEVICE void commit_products() { asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory"); }
template <int PENDING>
KS_DEVICE void wait_products() {
  asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(PENDING) : "memory");
}

/// Prevents the compiler from moving accesses to the sums across a fence or a wait, which name no register.
template <int COUNT>
KS_DEVICE void hold_sums(float (&sums)[COUNT]) {
  KS_UNROLL
  for (int u = 0; u < COUNT; ++u) asm volatile("" : "+f"(sums[u])::"memory");
}

// Registers of the sums of 128, 192 and 256 batch entries.
#define KS_REGISTERS_64 \
  "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, " \
  "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31, " \
  "%32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, " \
  "%48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63"
#define KS_REGISTERS_96 KS_REGISTERS_64 ", " \
  "%64, %65, %66, %67, %68, %69, %70, %71, %72, %73, %74, %75, %76, %77, %78, %79, " \
  "%80, %81, %82, %83, %84, %85, %86, %87, %88, %89, %90, %91, %92, %93, %94, %95"
#define KS_REGISTERS_128 KS_REGISTERS_96 ", " \
  "%96, %97, %98, %99, %100, %101, %102, %103, %104, %105, %106, %107, %108, %109, %110, %111, " \
  "%112, %113, %114, %115, %116, %117, %118, %119, %120, %121, %122, %123, %124, %125, %126, %127"

#define KS_F8(i)                                                                                      \
  "+f"(sums[i]), "+f"(sums[i + 1]), "+f"(sums[i + 2]), "+f"(sums[i + 3]), "+f"(sums[i + 4]),          \
      "+f"(sums[i + 5]), "+f"(sums[i + 6]), "+f"(sums[i + 7])
#define KS_F32(i) KS_F8(i), KS_F8(i + 8), KS_F8(i + 16), KS_F8(i + 24)

// a, b: the numbers of the operands that follow the sums; `order` ends the instruction.
#define KS_WGMMA(shape_and_types, registers, a_number, b_number, order)                               \
  "{\n.reg .pred add;\nsetp.ne.b32 add, 1, 0;\n"                                                      \
  "wgmma.mma_async.sync.aligned." shape_and_types " {" registers "}, %" #a_number ", %" #b_number     \
  ", add, 1, 1" order ";\n}"

/// The instruction for N batch entries; rows of B are along K, or along the batch if BY_BATCH, which tf32
/// does not support.
#define KS_MULTIPLY(N, depth_and_types, registers, a_number, b_number, by_batch, ...)                 \
  asm volatile(KS_WGMMA("m64n" #N depth_and_types, registers, a_number, b_number, by_batch)           \
               : __VA_ARGS__ : "l"(a), "l"(b))

#define KS_MULTIPLY_BY_N(depth_and_types, by_batch)                                                   \
  if constexpr (N == 128) {                                                                           \
    KS_MULTIPLY(128, depth_and_types, KS_REGISTERS_64, 64, 65, by_batch, KS_F32(0), KS_F32(32));      \
  } else if constexpr (N == 192) {                                                                    \
    KS_MULTIPLY(192, depth_and_types, KS_REGISTERS_96, 96, 97, by_batch, KS_F32(0), KS_F32(32),       \
                KS_F32(64));                                                                          \
  } else {                                                                                            \
    static_assert(N == 256, "the widths that are written out");                                       \
    KS_MULTIPLY(256, depth_and_types, KS_REGISTERS_128, 128, 129, by_batch, KS_F32(0), KS_F32(32),    \
                KS_F32(64), KS_F32(96));                                                              \
  }

/// sums += A B, 64 rows by N batch entries.
template <bool BY_BATCH, int N>
KS_DEVICE void multiply(float (&sums)[N / 2], uint64_t a, uint64_t b, Half) {
  if constexpr (BY_BATCH) {
    KS_MULTIPLY_BY_N("k16.f32.f16.f16", ", 0, 1")
  } else {
    KS_MULTIPLY_BY_N("k16.f32.f16.f16", ", 0, 0")
  }
}
template <bool BY_BATCH, int N>
KS_DEVICE void multiply(float (&sums)[N / 2], uint64_t a, uint64_t b, Brain) {
  if constexpr (BY_BATCH) {
    KS_MULTIPLY_BY_N("k16.f32.bf16.bf16", ", 0, 1")
  } else {
    KS_MULTIPLY_BY_N("k16.f32.bf16.bf16", ", 0, 0")
  }
}
/// In tf32; the instruction ignores the last 13 bits.
template <bool BY_BATCH, int N>
KS_DEVICE void multiply(float (&sums)[N / 2], uint64_t a, uint64_t b, float) {
  static_assert(!BY_BATCH, "tf32 takes operands along K alone");
  KS_MULTIPLY_BY_N("k8.f32.tf32.tf32", "")
}

/// In fp8, whose rows are along K in both operands.
template <bool BY_BATCH, int N>
KS_DEVICE void multiply(float (&sums)[N / 2], uint64_t a, uint64_t b, Eighth) {
  static_assert(!BY_BATCH, "fp8 takes operands along K alone");
  KS_MULTIPLY_BY_N("k32.f32.e4m3.e4m3", "")
}

}  // namespace ks::hopper
