// The functions of device.cuh on the CPU, executed by the fibers of host_block.hpp.
#pragma once

#include "host_cluster.hpp"
#include "host_formats.hpp"

#define __global__
#define __launch_bounds__(...)
#define __cluster_dims__(...)
#define KS_DEVICE inline
#define KS_UNROLL
#define KS_UNROLL_BY(count)

namespace ks {

inline int thread_index() { return host::running->thread; }
inline unsigned block_index() { return host::running->index; }
inline void barrier() { host::running->barrier(); }
inline void cluster_barrier() { host::running->cluster_barrier(); }
inline char* shared_memory() { return host::running->shared.base(); }

template <class V>
V load_shared(const void* from) {
  host::running->shared.note_read(from, sizeof(V), thread_index());
  host::running->pass_banks(host::LOADS, thread_index(), from, sizeof(V));
  V value;
  std::memcpy(&value, from, sizeof(V));
  return value;
}

template <class V>
void store_shared(void* to, V value) {
  host::running->shared.note_write(to, sizeof(V), thread_index());
  host::running->pass_banks(host::STORES, thread_index(), to, sizeof(V));
  std::memcpy(to, &value, sizeof(V));
}

template <class V>
void store_shared_of(unsigned rank, void* to, V value) {
  std::memcpy(host::running->in_peer(rank, to, sizeof(V)), &value, sizeof(V));
}

template <class V>
V load_global(const void* from) {
  host::running->global.check(from, sizeof(V), false);
  V value;
  std::memcpy(&value, from, sizeof(V));
  return value;
}

template <class V>
void store_global(void* to, V value) {
  host::running->global.check(to, sizeof(V), true);
  std::memcpy(to, &value, sizeof(V));
}

template <int BYTES>
void copy_async(void* to, const void* from, bool valid) {
  static_assert(BYTES == 4 || BYTES == 8 || BYTES == 16, "the sizes of cp.async");
  if (valid) host::running->global.check(from, BYTES, false);
  host::running->shared.note_write(to, BYTES, thread_index());
  host::running->pass_banks(host::COPIES, thread_index(), to, BYTES);
  host::running->copies().start(to, from, BYTES, valid);
}

inline void commit_copies() { host::running->copies().commit(); }

template <int PENDING>
void wait_copies() {
  host::running->copies().wait(PENDING, [](void* to, int bytes) {
    host::running->shared.note_write(to, bytes, thread_index());
  });
}

namespace host {

/// The operands of one lane of an mma, and the address of its four sums.
struct Fragments {
  const uint32_t* a;
  uint32_t b[2];
};

/// D = A B + C of 16 rows and 8 columns, from the fragments of 32 lanes (PTX ISA, "Matrix Fragments
/// for mma.m16n8k16", "mma.m16n8k8" and "mma.m16n8k32"): lane 4g + t holds the rows g and g + 8 of A, the
/// column g of B, and the columns 2t and 2t + 1 of D.
template <class Format, class FormatB>
void multiply_fragments(Lane (&lanes)[WARP]) {
  constexpr int PER_WORD = Format::PER_WORD, DEPTH = 8 * PER_WORD;
  float a[16][DEPTH], b[DEPTH][8];
  for (int lane = 0; lane < WARP; ++lane) {
    const int g = lane / 4, t = lane % 4;
    const auto& in = *static_cast<const Fragments*>(lanes[lane].in);
    for (int word = 0; word < 4; ++word) {
      for (int p = 0; p < PER_WORD; ++p) {
        const int depth = (t + word / 2 * 4) * PER_WORD + p;
        a[g + word % 2 * 8][depth] = Format::element(in.a[word], p);
        if (word < 2) b[(t + word * 4) * PER_WORD + p][g] = FormatB::element(in.b[word], p);
      }
    }
  }
  for (int lane = 0; lane < WARP; ++lane) {
    float* sum = static_cast<float*>(lanes[lane].out);
    for (int i = 0; i < 4; ++i) {
      const int row = lane / 4 + i / 2 * 8, column = lane % 4 * 2 + i % 2;
      double addends[DEPTH + 1] = {sum[i]};
      for (int depth = 0; depth < DEPTH; ++depth) addends[depth + 1] = double{a[row][depth]} * b[depth][column];
      sum[i] = add_as_tensor_cores<Format::SUM_BITS>(addends);
    }
  }
}

/// ldmatrix of four 8×8 matrices of 16-bit elements; each lane gives the address of one of the 32 rows.
template <bool TRANSPOSED>
void load_matrices(Lane (&lanes)[WARP]) {
  for (const Lane& lane : lanes) {
    running->shared.note_read(lane.in, 16, lane.thread);
    running->pass_banks(MATRICES, lane.thread, lane.in, 16);
  }
  for (int lane = 0; lane < WARP; ++lane) {
    auto* out = static_cast<uint16_t*>(lanes[lane].out);
    for (int matrix = 0; matrix < 4; ++matrix) {
      for (int p = 0; p < 2; ++p) {
        const int first = lane / 4, second = lane % 4 * 2 + p;
        const int row = TRANSPOSED ? second : first, column = TRANSPOSED ? first : second;
        out[matrix * 2 + p] = static_cast<const uint16_t*>(lanes[matrix * 8 + row].in)[column];
      }
    }
  }
}

template <class Format, class FormatB = Format>
void mma(float (&sum)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
  const Fragments in{a, {b0, b1}};
  running->join(multiply_fragments<Format, FormatB>, &in, sum);
}

}  // namespace host

template <bool TRANSPOSED>
void load_matrices(uint32_t (&to)[4], const void* row) {
  host::running->join(host::load_matrices<TRANSPOSED>, row, to);
}

inline void mma_half(float (&sum)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
  host::mma<host::HalfPair>(sum, a, b0, b1);
}
inline void mma_brain(float (&sum)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
  host::mma<host::BrainPair>(sum, a, b0, b1);
}
inline void mma_e4m3(float (&sum)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
  host::mma<host::Fp8Four<4>, host::Fp8Four<4>>(sum, a, b0, b1);
}
inline void mma_e4m3_by_e5m2(float (&sum)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
  host::mma<host::Fp8Four<4>, host::Fp8Four<5>>(sum, a, b0, b1);
}
inline void mma_tf32(float (&sum)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
  host::mma<host::Tf32Word>(sum, a, b0, b1);
}

}  // namespace ks
