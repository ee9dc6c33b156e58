// The product with wgmma and TMA (sm_90a), for b and c so large that mma.sync is the bottleneck.
//
// One thread issues the copies; each warpgroup multiplies 64 rows by the block's batch entries, directly
// from shared memory. hopper_maps.cuh has the layouts; everything else is as in fused.cu.
#include "hopper_device.cuh"
#include "hopper_maps.cuh"
#include "store.cuh"

namespace ks {

/// The sums of one thread of a warpgroup.
template <class T>
class OnWarpgroups {
  static constexpr int SUMS = T::BN / 2;
  static constexpr int INSTRUCTIONS = T::BK * sizeof(typename T::Element) / hopper::DEPTH_BYTES;

  /// fp8: tensor cores keep 14 bits of a sum, so each step of 128 columns is summed apart and promoted to fp32.
  static constexpr bool PROMOTED = sizeof(typename T::Element) == 1;

  float sum[SUMS] = {};
  float few[PROMOTED ? SUMS : 1] = {};

  KS_DEVICE static int row(int u) {
    return thread_index() / 128 * T::TM + hopper::sum_row(thread_index(), u);
  }

 public:
  /// Starts one step: weights and X at these addresses, in the layout of hopper_maps.cuh.
  KS_DEVICE void start(uint32_t w, uint32_t x) {
    constexpr bool BY_BATCH = T::LAYOUT == batch_last;
    w += thread_index() / 128 * (T::TM * hopper::SPAN_BYTES);
    auto& sums = sums_of_step();
    hopper::hold_sums(sums);
    hopper::fence_sums();
    KS_UNROLL
    for (int l = 0; l < INSTRUCTIONS; ++l) {
      const uint64_t a = hopper::descriptor(w + l * hopper::next_depth_bytes(true), 16, hopper::ATOM_BYTES);
      const uint64_t b = hopper::descriptor(x + l * hopper::next_depth_bytes(!BY_BATCH),
                                            T::BK * hopper::SPAN_BYTES, hopper::ATOM_BYTES);
      hopper::multiply<BY_BATCH, T::BN>(sums, a, b, typename T::Element{});
    }
    hopper::commit_products();
  }

  /// Waits until only the step that was started last may be under way; in fp8 until none is.
  KS_DEVICE void advance() {
    if constexpr (PROMOTED) {
      hopper::wait_products<0>();
      hopper::hold_sums(few);
      KS_UNROLL
      for (int u = 0; u < SUMS; ++u) sum[u] += few[u], few[u] = 0;
    } else {
      hopper::wait_products<1>();
    }
  }

  /// Waits until the sums include all steps that were started.
  KS_DEVICE void finish() {
    if constexpr (PROMOTED) return;
    hopper::wait_products<0>();
    hopper::hold_sums(sum);
  }

  template <class F>
  KS_DEVICE void scale_rows(F scale) {
    const float upper = scale(0, row(0)), lower = scale(0, row(2));
    KS_UNROLL
    for (int u = 0; u < SUMS; ++u) sum[u] *= u / 2 % 2 ? lower : upper;
  }

  template <class F>
  KS_DEVICE void add_to_rows(F value) {
    const float upper = value(0, row(0)), lower = value(0, row(2));
    KS_UNROLL
    for (int u = 0; u < SUMS; ++u) sum[u] += u / 2 % 2 ? lower : upper;
  }

  template <class O>
  KS_DEVICE void store(const Y<T, O>& y) const {
    KS_UNROLL
    for (int u = 0; u < SUMS; u += 2) {
      y.put_pair(0, row(u), hopper::sum_column(thread_index(), u), sum[u], sum[u + 1]);
    }
  }

 private:
  KS_DEVICE auto& sums_of_step() {
    if constexpr (PROMOTED) {
      return few;
    } else {
      return sum;
    }
  }
};

/// The copies of one block: a stage and a counter of its bytes for each of STAGES steps in flight.
template <class T>
class Asking {
  using E = typename T::Element;
  static constexpr int X_BYTES = sizeof(E) * T::X_ELEMENTS, W_BYTES = sizeof(E) * T::W_ELEMENTS;
  static constexpr int SPAN = hopper::SPAN_BYTES / sizeof(E);

  const hopper::TensorMap* map;
  const E* w;
  char* stages;
  uint64_t* counters;
  int i, j, n0;

 public:
  KS_DEVICE Asking(const hopper::TensorMap* map, const Arguments& g, const Place& at, uint64_t* counters)
      : map(map), counters(counters), i(at.i), j(at.j0), n0(static_cast<int>(at.n0)) {
    w = static_cast<const E*>(g.w) + at.weights_offset;
    const uint32_t past = hopper::shared_address(shared_memory()) % hopper::ATOM_BYTES;
    stages = shared_memory() + (hopper::ATOM_BYTES - past) % hopper::ATOM_BYTES;
  }

  /// Addresses of a step's X and weights.
  KS_DEVICE uint32_t x_at(int step) const { return hopper::shared_address(stage(step)); }
  KS_DEVICE uint32_t w_at(int step) const { return x_at(step) + X_BYTES; }

  /// Called by one thread, before the first step.
  KS_DEVICE void start(int steps) const {
    for (int s = 0; s < T::STAGES; ++s) hopper::start_counting(counters + s);
    hopper::publish_counters();
    for (int step = 0; step < T::STAGES && step < steps; ++step) issue(step);
  }

  /// Called by one thread, when no thread reads the stage any more.
  KS_DEVICE void issue(int step) const {
    uint64_t* const counter = counters + step % T::STAGES;
    const int l0 = step * T::BK;
    hopper::expect(counter, X_BYTES + W_BYTES);
    if constexpr (T::LAYOUT == batch_last) {
      KS_UNROLL
      for (int n = 0; n < T::BN; n += SPAN) {
        char* const chunk = stage(step) + n / SPAN * T::BK * hopper::SPAN_BYTES;
        hopper::copy_box(chunk, map, n0 + n, j, l0, i, counter);
      }
    } else {
      hopper::copy_box(stage(step), map, l0, 0, i, n0, counter);
    }
    const E* const from = w + static_cast<long long>(step) * T::W_ELEMENTS;
    hopper::copy_bulk(stage(step) + X_BYTES, from, W_BYTES, counter);
  }

  KS_DEVICE void wait(int step) const {
    hopper::wait(counters + step % T::STAGES, step / T::STAGES % 2);
  }

 private:
  KS_DEVICE char* stage(int step) const { return stages + step % T::STAGES * (X_BYTES + W_BYTES); }
};

template <class T>
KS_DEVICE void product_by_warpgroups(const hopper::TensorMap* map, const Arguments& g) {
  __shared__ uint64_t counters[T::STAGES];
  const Place at = place_of<T>(g, block_index());
  const Asking<T> asking(map, g, at, counters);
  const bool asks = thread_index() == 0;
  const int steps = tiles_in(g.c, T::BK);
  if (asks) asking.start(steps);
  barrier();  // the counters are initialised

  OnWarpgroups<T> sums;
  for (int step = 0; step < steps; ++step) {
    asking.wait(step);
    sums.start(asking.w_at(step), asking.x_at(step));
    sums.advance();
    barrier();  // no thread reads the previous step's stage any more
    const int ahead = step - 1 + T::STAGES;
    if (asks && step > 0 && ahead < steps) asking.issue(ahead);
  }
  sums.finish();
  apply_scales<T>(sums, g, at);
  add_bias<T>(sums, g, at);
  barrier();  // Y takes over the memory of the stages
  using Out = typename T::Output;
  const Y<T, Out> y{reinterpret_cast<Out*>(shared_memory())};
  sums.store(y);
  barrier();  // Y is complete
  scatter<T>(y, g, at);
}

using TheTile = Tile<KS_TILE>;
static_assert(TheTile::THREADS == KS_THREADS, "tile.py counts other threads");
static_assert(TheTile::SHARED_BYTES == KS_SHARED_BYTES, "tile.py counts other bytes of shared memory");
static_assert(TheTile::TM == 64 && TheTile::TN == TheTile::BN, "a warpgroup has 64 rows of all batch entries");
static_assert(TheTile::BK * sizeof(TheTile::Element) == hopper::SPAN_BYTES, "rows of 128 bytes");

}  // namespace ks

extern "C" __global__ void __launch_bounds__(KS_THREADS, ks::TheTile::BLOCKS)
    ks_product(const __grid_constant__ ks::hopper::TensorMap map, const ks::Arguments arguments) {
  ks::product_by_warpgroups<ks::TheTile>(&map, arguments);
}
