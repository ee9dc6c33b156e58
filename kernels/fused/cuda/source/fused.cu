// The fused Kronecker-sparse product: one kernel for one tile, given by tile.py in KS_TILE.
//
// Y = K X without permutation passes: each block gathers its strided features while copying from global
// to shared memory, and scatters its results while writing them back.
#include "copy.cuh"
#include "families.cuh"
#include "sum_parts.cuh"

namespace ks {

/// A block's steps along c: while one step is multiplied, the copies of STAGES - 1 steps are in flight.
template <class T>
class Block {
  using E = typename T::Element;

  const Arguments& g;
  Place at = place_of<T>(g, block_index());
  const long long begin = at.n0;
  const Copies<T> copies{g, at};
  int first = 0, steps = tiles_in(g.c, T::BK);
  E* const stages = reinterpret_cast<E*>(shared_memory());
  E* const turned = stages + T::STAGES * T::STAGE_ELEMENTS;
  E* const resident = reinterpret_cast<E*>(shared_memory() + T::SHARED_BYTES);

 public:
  static constexpr int BLOCKS = T::BLOCKS;  // that share a multiprocessor

  KS_DEVICE explicit Block(const Arguments& g) : g(g) {
    if constexpr (T::PARTED) {
      const int each = tiles_in(steps, g.parts);
      first = at.part * each;
      steps = steps - first < each ? steps - first : each;  // may be 0 for the last parts
    }
  }

  KS_DEVICE void run() {
    if constexpr (T::RESIDENT) {
      if (at.n0 >= g.batch) return;  // more walkers than batch tiles
      for (int step = 0; step < steps; ++step) copies.copy_weights(step, resident + step * T::W_ELEMENTS);
      start();
      while (at.n0 < g.batch) tile(at.n0 + static_cast<long long>(g.walkers) * T::BN);
    } else {
      start();
      tile(g.batch);
    }
  }

 private:
  KS_DEVICE void issue(int step) const {
    copies.issue(first + step, T::RESIDENT ? at.n0 - begin : 0, at.ns, stage(step));
  }

  /// Starts the first copies of a batch tile.
  KS_DEVICE void start() const {
    for (int step = 0; step < T::STAGES - 1; ++step) {
      if (step < steps) issue(step);
      commit_copies();
    }
  }

  /// Computes one batch tile, whose first copies have been started, and starts those of the next tile.
  KS_DEVICE void tile(long long next) {
    typename MultiplyBy<T, T::FAMILY>::Type sums;
    for (int step = 0; step < steps; ++step) {
      wait_copies<T::STAGES - 2>();
      barrier();  // this step's copies are visible to all threads; the previous step's stage is free
      const int ahead = step + T::STAGES - 1;
      if (ahead < steps) issue(ahead);
      commit_copies();
      multiply(sums, step);
      if constexpr (T::BLOCKED) {
        if ((step + 1) % T::BLOCK_STEPS == 0) sums.end_block();
      }
    }
    if constexpr (T::BLOCKED) sums.add_blocks();
    apply_scales<T>(sums, g, at);
    add_bias<T>(sums, g, at);
    using Out = typename T::Output;
    const Y<T, Out> y{reinterpret_cast<Out*>(shared_memory() + T::Y_OFFSET_BYTES)};
    if constexpr (!T::RESIDENT) barrier();  // Y takes over the memory of the stages
    sums.store(y, at.js);
    barrier();  // Y is complete
    Place done = at;
    at.n0 = next, at.ns = batch_entries<T>(g, next);
    if (T::RESIDENT && next < g.batch) start();
    scatter<T>(y, g, done);
  }

  template <class Sums>
  KS_DEVICE void multiply(Sums& sums, int step) const {
    const E* x = stage(step);
    const E* w = T::RESIDENT ? resident + step * T::W_ELEMENTS : x + T::X_ELEMENTS;
    if constexpr (T::TURNED) {
      turn<T>(x, turned, at.js);
      barrier();
      sums.step(w, turned, at.js);
    } else {
      sums.step(w, x, at.js);
    }
  }

  KS_DEVICE E* stage(int step) const { return stages + step % T::STAGES * T::STAGE_ELEMENTS; }
};

using TheTile = Tile<KS_TILE>;
static_assert(TheTile::THREADS == KS_THREADS, "tile.py counts other threads");
static_assert(TheTile::SHARED_BYTES == KS_SHARED_BYTES, "tile.py counts other bytes of shared memory");
static_assert(TheTile::STAGES >= 2, "the stage that is copied to is not the one that is read");

}  // namespace ks

extern "C" __global__ void __launch_bounds__(KS_THREADS, ks::TheTile::BLOCKS)
    ks_product(const ks::Arguments arguments) {
  ks::Block<ks::TheTile>(arguments).run();
}

#if KS_PARTED
/// The second pass: one thread for each element of Y.
extern "C" __global__ void __launch_bounds__(KS_SUM_THREADS) ks_sum_parts(const ks::Arguments arguments) {
  ks::sum_parts<ks::TheTile>(arguments);
}
#endif
