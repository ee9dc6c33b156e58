// What only sm_90a can do: TMA copies that an mbarrier counts, and products of a warpgroup.
#pragma once

#include "precision.cuh"

namespace ks::hopper {

/// A CUtensorMap: opaque, made by the driver, passed as the kernel's first parameter.
struct alignas(64) TensorMap { char bytes[128]; };

KS_DEVICE uint32_t shared_address(const void* at) {
  return static_cast<uint32_t>(__cvta_generic_to_shared(at));
}

// ---- mbarriers: one arrival and so many bytes a phase -----------------------------------------

KS_DEVICE void start_counting(uint64_t* barrier) {
  asm volatile("mbarrier.init.shared::cta.b64 [%0], 1;" ::"r"(shared_address(barrier)) : "memory");
}

/// After all `start_counting`, before the first copy.
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

/// A contiguous stretch, a multiple of 16 bytes.
KS_DEVICE void copy_bulk(void* to, const void* from, uint32_t bytes, uint64_t* barrier) {
  asm volatile("cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1], %2, [%3];" ::"r"(
                   shared_address(to)), "l"(from), "r"(bytes), "r"(shared_address(barrier)) : "memory");
}

/// A box of the map at these coordinates, zeros where it leaves the tensor.
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

#define KS_F8(d, i)                                                                              \
  "+f"(d[i]), "+f"(d[i + 1]), "+f"(d[i + 2]), "+f"(d[i + 3]), "+f"(d[i + 4]), "+f"(d[i + 5]),    \
      "+f"(d[i + 6]), "+f"(d[i + 7])
#define KS_WGMMA(types, by_batch)                                                                \
  asm volatile(                                                                                  \
      "{\n.reg .pred add;\nsetp.ne.b32 add, 1, 0;\n"                                             \
      "wgmma.mma_async.sync.aligned.m64n128k16.f32." types                                       \
      " {%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, "                 \
      "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31, "         \
      "%32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, "         \
      "%48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63}, "        \
      "%64, %65, add, 1, 1, 0, %66;\n}"                                                          \
      : KS_F8(sums, 0), KS_F8(sums, 8), KS_F8(sums, 16), KS_F8(sums, 24), KS_F8(sums, 32),       \
        KS_F8(sums, 40), KS_F8(sums, 48), KS_F8(sums, 56)                                        \
      : "l"(a), "l"(b), "n"(by_batch))

/// sums += A B, 64 rows by 128 batch entries; B's rows are along K, or along the batch if BY_BATCH.
template <bool BY_BATCH>
KS_DEVICE void multiply(float (&sums)[64], uint64_t a, uint64_t b, Half) {
  KS_WGMMA("f16.f16", BY_BATCH ? 1 : 0);
}
template <bool BY_BATCH>
KS_DEVICE void multiply(float (&sums)[64], uint64_t a, uint64_t b, Brain) {
  KS_WGMMA("bf16.bf16", BY_BATCH ? 1 : 0);
}

}  // namespace ks::hopper
