// The further operations of sm_90a that the persistent kernel needs: clusters of two blocks, copies to both of
// them, mbarriers that several warps release, stores by TMA, registers that move between warpgroups.
#pragma once

#include "hopper_device.cuh"

namespace ks::hopper {

// ---- clusters --------------------------------------------------------------------------------

constexpr int CLUSTER = 2;            // blocks of a cluster
constexpr uint16_t BOTH_BLOCKS = 3;   // a bit for each of them

KS_DEVICE unsigned rank_in_cluster() {
  unsigned rank;
  asm volatile("mov.u32 %0, %%cluster_ctarank;" : "=r"(rank));
  return rank;
}

using ks::cluster_barrier;

// ---- mbarriers that count arrivals of warps ----------------------------------------------------

KS_DEVICE void start_counting(uint64_t* barrier, int arrivals) {
  asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(shared_address(barrier)), "r"(arrivals) : "memory");
}

/// Arrives at the mbarrier at the same place in a block of the cluster.
KS_DEVICE void arrive(uint64_t* barrier, unsigned block) {
  uint32_t there;
  asm volatile("mapa.shared::cluster.u32 %0, %1, %2;" : "=r"(there) : "r"(shared_address(barrier)), "r"(block));
  asm volatile("mbarrier.arrive.release.cluster.shared::cluster.b64 _, [%0];" ::"r"(there) : "memory");
}

/// Waits for arrivals from both blocks.
KS_DEVICE void wait_for_cluster(uint64_t* barrier, uint32_t parity) {
  asm volatile(
      "{\n"
      ".reg .pred done;\n"
      "again:\n"
      "mbarrier.try_wait.parity.acquire.cluster.shared::cta.b64 done, [%0], %1;\n"
      "@!done bra again;\n"
      "}" ::"r"(shared_address(barrier)), "r"(parity) : "memory");
}

// ---- copies and stores -----------------------------------------------------------------------

/// Copies contiguous memory to the same place in both blocks, and counts the bytes in each of them.
KS_DEVICE void copy_bulk_to_both(void* to, const void* from, uint32_t bytes, uint64_t* barrier) {
  asm volatile(
      "cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes.multicast::cluster [%0], [%1], %2, [%3], "
      "%4;" ::"r"(shared_address(to)), "l"(from), "r"(bytes), "r"(shared_address(barrier)), "h"(BOTH_BLOCKS)
      : "memory");
}

/// Stores a box from shared memory; what lies outside the tensor is left out.
KS_DEVICE void store_box(const TensorMap* map, int c0, int c1, int c2, int c3, const void* from) {
  asm volatile("cp.async.bulk.tensor.4d.global.shared::cta.bulk_group [%0, {%1, %2, %3, %4}], [%5];" ::"l"(map),
               "r"(c0), "r"(c1), "r"(c2), "r"(c3), "r"(shared_address(from)) : "memory");
}
KS_DEVICE void commit_stores() { asm volatile("cp.async.bulk.commit_group;" ::: "memory"); }
/// Waits until this thread's stores have read shared memory.
KS_DEVICE void wait_stores_read() { asm volatile("cp.async.bulk.wait_group.read 0;" ::: "memory"); }
/// Waits until this thread's stores are complete.
KS_DEVICE void wait_stores() { asm volatile("cp.async.bulk.wait_group 0;" ::: "memory"); }

/// Makes this thread's writes to shared memory visible to the stores that follow the next barrier.
KS_DEVICE void publish_writes() { asm volatile("fence.proxy.async.shared::cta;" ::: "memory"); }

KS_DEVICE void store_word(uint32_t to, uint32_t word) {
  asm volatile("st.shared.b32 [%0], %1;" ::"r"(to), "r"(word) : "memory");
}

/// Writes four 8×8 matrices of 16 bits, each transposed: lane 8q + r gives the address of column r (16 bytes) of
/// matrix q, and lane L holds elements 2(L%4), 2(L%4)+1 of row L/4 (PTX, stmatrix).
KS_DEVICE void store_matrices(uint32_t column, const uint32_t (&from)[4]) {
  asm volatile("stmatrix.sync.aligned.m8n8.x4.trans.shared.b16 [%0], {%1, %2, %3, %4};" ::"r"(column), "r"(from[0]),
               "r"(from[1]), "r"(from[2]), "r"(from[3]) : "memory");
}

// ---- warpgroups ------------------------------------------------------------------------------

/// A barrier of one warpgroup; numbers from 1 on, since 0 is the block's.
KS_DEVICE void warpgroup_barrier(int number) {
  asm volatile("bar.sync %0, 128;" ::"r"(number) : "memory");
}

template <int REGISTERS>
KS_DEVICE void give_registers() {
  asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(REGISTERS));
}
template <int REGISTERS>
KS_DEVICE void take_registers() {
  asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(REGISTERS));
}

}  // namespace ks::hopper
