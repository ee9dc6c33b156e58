// The fused Kronecker-sparse product: one kernel for one tile, which tile.py names in KS_TILE.
//
// Y = K X without permutation passes: each block gathers its strided features on the way from
// global to shared memory and scatters its results on the way back.
#include "copy.cuh"
#include "cores.cuh"
#include "store.cuh"
#include "tensor_cores.cuh"

namespace ks {

template <class T, Family>
struct MultiplyBy { using Type = OnCores<T>; };
template <class T>
struct MultiplyBy<T, tensor_cores> { using Type = OnTensorCores<T>; };

/// STAGES - 1 steps are on their way while one is multiplied.
template <class T>
KS_DEVICE void product(const Arguments& g) {
  using E = typename T::Element;
  E* const memory = reinterpret_cast<E*>(shared_memory());
  E* const turned = memory + T::STAGES * T::STAGE_ELEMENTS;
  const Place at = place_of<T>(g, block_index());
  const Copies<T> copies(g, at);
  typename MultiplyBy<T, T::FAMILY>::Type sums;

  const int steps = tiles_in(g.c, T::BK);
  for (int step = 0; step < T::STAGES - 1; ++step) {
    if (step < steps) copies.issue(step, memory + step * T::STAGE_ELEMENTS);
    commit_copies();
  }
  for (int step = 0; step < steps; ++step) {
    wait_copies<T::STAGES - 2>();
    barrier();  // this step's copies are everyone's; the stage of the step before is free
    const int ahead = step + T::STAGES - 1;
    if (ahead < steps) copies.issue(ahead, memory + ahead % T::STAGES * T::STAGE_ELEMENTS);
    commit_copies();

    const E* stage = memory + step % T::STAGES * T::STAGE_ELEMENTS;
    if constexpr (T::TURNED) {
      turn<T>(stage + T::W_ELEMENTS, turned, at.js);
      barrier();
      sums.step(stage, turned, at.js);
    } else {
      sums.step(stage, stage + T::W_ELEMENTS, at.js);
    }
  }
  barrier();  // Y takes the place of the stages
  gather<T>(sums, at.js, memory);
  barrier();
  scatter<T>(memory, g, at);
}

using TheTile = Tile<KS_TILE>;
static_assert(TheTile::THREADS == KS_THREADS, "tile.py counts other threads");
static_assert(TheTile::SHARED_BYTES == KS_SHARED_BYTES, "tile.py counts other bytes of shared memory");
static_assert(TheTile::STAGES >= 2, "the stage that is copied to is not the one that is read");

}  // namespace ks

extern "C" __global__ void __launch_bounds__(KS_THREADS, ks::TheTile::BLOCKS)
    ks_product(const ks::Arguments arguments) {
  ks::product<ks::TheTile>(arguments);
}
