// The product by persistent blocks with wgmma and TMA (sm_90a), for b and c so large that copies from the L2
// cache are the bottleneck of hopper.cu.
//
// One warpgroup copies, two multiply: 128 rows by the block's batch entries each. The two blocks of a cluster
// have the same rows and neighbouring batch tiles; each copies half of the weights, to both. While the next tile's
// copies are in flight, Y leaves by TMA. Copies fill with zeros and stores leave out what is outside the tensors.
#include "hopper_cluster.cuh"
#include "hopper_maps.cuh"
#include "tile.cuh"

namespace ks {

/// Sizes chosen by tile_candidates.py; tile.py also computes SHARED_BYTES.
template <class Precision_, Layout LAYOUT_, int BM_, int BN_, int STAGES_>
struct PersistentTile {
  using Element = typename Precision_::Element;
  static constexpr Layout LAYOUT = LAYOUT_;
  static constexpr int BM = BM_, BN = BN_, STAGES = STAGES_;
  static constexpr int SPAN = hopper::SPAN_BYTES / sizeof(Element);  // elements in a row of shared memory
  static constexpr int BK = SPAN;
  static constexpr int CONSUMERS = 2, THREADS = 128 * (1 + CONSUMERS), WARPS = 4 * CONSUMERS;
  static constexpr int HEIGHT = 64, HEIGHTS = BM / CONSUMERS / HEIGHT;  // rows of one instruction; of a warpgroup
  static constexpr int X_BYTES = BN * hopper::SPAN_BYTES, W_BYTES = BM * hopper::SPAN_BYTES;
  static constexpr int STAGE_BYTES = X_BYTES + W_BYTES;
  /// Y leaves in chunks: SPAN rows by BN in batch_first, HEIGHT rows by BN in batch_last.
  static constexpr int CHUNK_ROWS = LAYOUT == batch_first ? SPAN : HEIGHT;
  static constexpr int CHUNK_BYTES = CHUNK_ROWS * BN * sizeof(Element);
  static constexpr int SHARED_BYTES = hopper::ATOM_BYTES + STAGES * STAGE_BYTES + CONSUMERS * CHUNK_BYTES;
  static_assert(BN % 64 == 0 && BN <= 256 && CHUNK_ROWS <= HEIGHT, "boxes of TMA, instructions of wgmma");
};

/// A tile of Y: rows from k0 and batch entries from n0 of one (i, j).
struct PersistentPlace {
  int i, j, k0, n0;
  long long weights_offset;  // in elements
};

/// Tiles are numbered with k innermost, then along the batch, by two tiles for the blocks of a cluster.
template <class T>
KS_DEVICE PersistentPlace place_of_pair(const Arguments& g, unsigned pair, unsigned rank) {
  const unsigned k_tiles = tiles_in(g.b, T::BM);
  const unsigned pairs = (static_cast<unsigned>(g.batch) + 2 * T::BN - 1) / (2 * T::BN);
  const unsigned k = pair % k_tiles, n = pair / k_tiles % pairs, matrix = pair / k_tiles / pairs;
  PersistentPlace at;
  at.i = matrix / g.d;
  at.j = matrix % g.d;
  at.k0 = k * T::BM;
  at.n0 = (n * hopper::CLUSTER + rank) * T::BN;
  at.weights_offset = (static_cast<long long>(matrix) * k_tiles + k) * tiles_in(g.c, T::BK) * T::BM * T::BK;
  return at;
}

/// The stages of a block: `full` counts a stage's bytes, `empty` the warps of both blocks that have read it.
template <class T>
struct Stages {
  char* memory;
  uint64_t* full;
  uint64_t* empty;

  KS_DEVICE char* x(int s) const { return memory + s * T::STAGE_BYTES; }
  KS_DEVICE char* w(int s) const { return x(s) + T::X_BYTES; }
};

/// The place of one step among the stages, and how often they have all been used before.
template <class T>
struct Turn {
  int stage = 0;
  unsigned round = 0;

  KS_DEVICE void next() {
    if (++stage == T::STAGES) stage = 0, ++round;
  }
};

/// One thread: all copies of a block.
template <class T>
class Producer {
  using E = typename T::Element;

  const hopper::TensorMap* const map;
  const Arguments& g;
  const Stages<T> stages;
  const unsigned rank;
  Turn<T> turn;

 public:
  KS_DEVICE Producer(const hopper::TensorMap* map, const Arguments& g, const Stages<T>& stages, unsigned rank)
      : map(map), g(g), stages(stages), rank(rank) {}

  KS_DEVICE void copy_tile(const PersistentPlace& at) {
    const E* w = static_cast<const E*>(g.w) + at.weights_offset + rank * (T::BM / hopper::CLUSTER * T::BK);
    const int steps = tiles_in(g.c, T::BK);
    for (int step = 0; step < steps; ++step, w += T::BM * T::BK, turn.next()) {
      if (turn.round > 0) hopper::wait_for_cluster(stages.empty + turn.stage, (turn.round - 1) % 2);
      uint64_t* const full = stages.full + turn.stage;
      hopper::expect(full, T::STAGE_BYTES);
      copy_x(stages.x(turn.stage), at, step * T::BK, full);
      constexpr int HALF = T::W_BYTES / hopper::CLUSTER;
      hopper::copy_bulk_to_both(stages.w(turn.stage) + rank * HALF, w, HALF, full);
    }
  }

 private:
  KS_DEVICE void copy_x(char* to, const PersistentPlace& at, int l0, uint64_t* full) const {
    if constexpr (T::LAYOUT == batch_last) {
      KS_UNROLL
      for (int n = 0; n < T::BN; n += T::SPAN) {
        hopper::copy_box(to + n / T::SPAN * T::BK * hopper::SPAN_BYTES, map, at.n0 + n, at.j, l0, at.i, full);
      }
    } else {
      hopper::copy_box(to, map, l0, 0, at.i, at.n0, full);
    }
  }
};

/// One warpgroup: the products of its rows, and their way to Y.
template <class T>
class Consumer {
  using E = typename T::Element;
  static constexpr int SUMS = T::BN / 2;  // of one thread, for one height
  static constexpr int INSTRUCTIONS = hopper::SPAN_BYTES / hopper::DEPTH_BYTES;

  const hopper::TensorMap* const map;
  const Arguments& g;
  const Stages<T> stages;
  char* const chunk;
  const int number;  // 0 or 1
  const int thread = thread_index() % 128;
  Turn<T> turn;
  float sum[T::HEIGHTS][SUMS];

 public:
  KS_DEVICE Consumer(const hopper::TensorMap* map, const Arguments& g, const Stages<T>& stages, int number)
      : map(map), g(g), stages(stages), number(number),
        chunk(stages.memory + T::STAGES * T::STAGE_BYTES + number * T::CHUNK_BYTES) {}

  KS_DEVICE void multiply_tile() {
    KS_UNROLL
    for (int h = 0; h < T::HEIGHTS; ++h) {
      KS_UNROLL
      for (int u = 0; u < SUMS; ++u) sum[h][u] = 0;
    }
    const int steps = tiles_in(g.c, T::BK);
    int previous = 0;
    for (int step = 0; step < steps; ++step, turn.next()) {
      hopper::wait(stages.full + turn.stage, turn.round % 2);
      start(turn.stage);
      if (step > 0) {
        hopper::wait_products<1>();
        release(previous);
      }
      previous = turn.stage;
    }
    hopper::wait_products<0>();
    KS_UNROLL
    for (int h = 0; h < T::HEIGHTS; ++h) hopper::hold_sums(sum[h]);
    release(previous);
  }

  /// Adds the bias, rounds, and starts the stores of Y.
  KS_DEVICE void store_tile(const PersistentPlace& at) {
    KS_UNROLL
    for (int h = 0; h < T::HEIGHTS; ++h) {
      const int row = at.k0 + (number * T::HEIGHTS + h) * T::HEIGHT;
      add_bias(h, at, row);
      KS_UNROLL
      for (int part = 0; part < T::HEIGHT; part += T::CHUNK_ROWS) {
        if (thread == 0) hopper::wait_stores_read();
        hopper::warpgroup_barrier(1 + number);  // the chunk may be overwritten
        write_chunk(h, part);
        hopper::publish_writes();
        hopper::warpgroup_barrier(1 + number);  // the chunk is complete
        if (thread == 0) store_chunk(at, row + part);
      }
    }
  }

  /// Waits for the stores, which read this block's shared memory.
  KS_DEVICE void finish() const {
    if (thread == 0) hopper::wait_stores();
  }

 private:
  /// Starts the products of one step.
  KS_DEVICE void start(int stage) {
    constexpr bool BY_BATCH = T::LAYOUT == batch_last;
    const uint32_t x = hopper::shared_address(stages.x(stage));
    const uint32_t w = hopper::shared_address(stages.w(stage)) + number * (T::W_BYTES / T::CONSUMERS);
    KS_UNROLL
    for (int h = 0; h < T::HEIGHTS; ++h) hopper::hold_sums(sum[h]);
    hopper::fence_sums();
    KS_UNROLL
    for (int l = 0; l < INSTRUCTIONS; ++l) {
      const uint64_t b = hopper::descriptor(x + l * hopper::next_depth_bytes(!BY_BATCH),
                                            T::BK * hopper::SPAN_BYTES, hopper::ATOM_BYTES);
      KS_UNROLL
      for (int h = 0; h < T::HEIGHTS; ++h) {
        const uint32_t rows = w + h * (T::HEIGHT * hopper::SPAN_BYTES);
        const uint64_t a = hopper::descriptor(rows + l * hopper::next_depth_bytes(true), 16, hopper::ATOM_BYTES);
        hopper::multiply<BY_BATCH, T::BN>(sum[h], a, b, E{});
      }
    }
    hopper::commit_products();
  }

  /// One arrival of each warp at both blocks: either of them may copy to the stage of the other.
  KS_DEVICE void release(int stage) const {
    if (thread % 32 < hopper::CLUSTER) hopper::arrive(stages.empty + stage, thread % 32);
  }

  KS_DEVICE void add_bias(int h, const PersistentPlace& at, int row) {
    if (g.bias == nullptr) return;
    const float upper = bias_of(at, row + hopper::sum_row(thread, 0));
    const float lower = bias_of(at, row + hopper::sum_row(thread, 2));
    KS_UNROLL
    for (int u = 0; u < SUMS; ++u) sum[h][u] += u / 2 % 2 ? lower : upper;
  }

  KS_DEVICE float bias_of(const PersistentPlace& at, int m) const {
    if (m >= g.b) return 0;
    const long long feature = (static_cast<long long>(at.i) * g.b + m) * g.d + at.j;
    return to_float(load_global<E>(static_cast<const E*>(g.bias) + feature));
  }

  /// Writes the rows from `part` on of one height, in the layout in which TMA reads a box.
  KS_DEVICE void write_chunk(int h, int part) const {
    if constexpr (T::LAYOUT == batch_last) {
      write_pairs(h);
    } else if constexpr (sizeof(E) == 2) {
      write_transposed(h);
    } else if (thread / 32 * 16 / T::CHUNK_ROWS == part / T::CHUNK_ROWS) {
      write_columns(h, part);
    }
  }

  /// batch_last: two neighbours along the batch per access, rows outermost.
  KS_DEVICE void write_pairs(int h) const {
    KS_UNROLL
    for (int column = 0; column < T::SPAN; column += 8) {  // sum `column / 2` and those a box or eight rows further
      const int m = hopper::sum_row(thread, 0), n = hopper::sum_column(thread, column / 2);
      const uint32_t to = hopper::shared_address(chunk) + hopper::box_offset(m, n * sizeof(E));
      KS_UNROLL
      for (int box = 0; box < T::BN / T::SPAN; ++box) {
        const float* const sums = sum[h] + box * (T::SPAN / 2) + column / 2;
        const uint32_t in_box = to + box * (T::CHUNK_ROWS * hopper::SPAN_BYTES);
        hopper::store_word(in_box, packed(sums[0], sums[1]));
        hopper::store_word(in_box + hopper::ATOM_BYTES, packed(sums[2], sums[3]));
      }
    }
  }

  /// tf32: a row after the other of each thread's four, batch entries outermost.
  KS_DEVICE void write_columns(int h, int part) const {
    KS_UNROLL
    for (int v = 0; v < 4; ++v) {
      const int m = hopper::sum_row(thread, v) - part, n = hopper::sum_column(thread, v);
      const uint32_t to = hopper::shared_address(chunk) + hopper::box_offset(n, m * sizeof(E));
      KS_UNROLL
      for (int u = v; u < SUMS; u += 4) hopper::store_word(to + u / 4 * hopper::ATOM_BYTES, as_bits(sum[h][u]));
    }
  }

  /// Sixteen rows by sixteen batch entries in each access of a warp, batch entries outermost.
  KS_DEVICE void write_transposed(int h) const {
    const int matrix = thread % 32 / 8;
    const int m = thread / 32 * 16 + matrix % 2 * 8, first = matrix / 2 * 8 + thread % 8;
    KS_UNROLL
    for (int n = 0; n < T::BN; n += 16) {
      uint32_t pairs[4];
      KS_UNROLL
      for (int q = 0; q < 4; ++q) pairs[q] = packed(sum[h][n / 2 + 2 * q], sum[h][n / 2 + 2 * q + 1]);
      const uint32_t to = hopper::shared_address(chunk) + hopper::box_offset(first, m * sizeof(E));
      hopper::store_matrices(to + n * hopper::SPAN_BYTES, pairs);
    }
  }

  /// Two neighbours, rounded to 16 bits.
  KS_DEVICE static uint32_t packed(float first, float second) {
    E low, high;
    from_float(first, low);
    from_float(second, high);
    return uint32_t{high.bits} << 16 | low.bits;
  }

  /// Called by one thread: starts the store of the chunk, whose rows begin at `row`.
  KS_DEVICE void store_chunk(const PersistentPlace& at, int row) const {
    if constexpr (T::LAYOUT == batch_last) {
      KS_UNROLL
      for (int n = 0; n < T::BN; n += T::SPAN) {
        const char* const box = chunk + n / T::SPAN * (T::CHUNK_ROWS * hopper::SPAN_BYTES);
        hopper::store_box(map, at.n0 + n, at.j, row, at.i, box);
      }
    } else {
      hopper::store_box(map, row, 0, at.i, at.n0, chunk);
    }
    hopper::commit_stores();
  }
};

template <class T>
KS_DEVICE Stages<T> make_stages(uint64_t* full, uint64_t* empty) {
  const uint32_t past = hopper::shared_address(shared_memory()) % hopper::ATOM_BYTES;
  if (thread_index() == 0) {
    for (int s = 0; s < T::STAGES; ++s) {
      hopper::start_counting(full + s, 1);
      hopper::start_counting(empty + s, hopper::CLUSTER * T::WARPS);
    }
    hopper::publish_counters();
  }
  hopper::cluster_barrier();  // both blocks' counters are initialised
  return {shared_memory() + (hopper::ATOM_BYTES - past) % hopper::ATOM_BYTES, full, empty};
}

template <class T>
KS_DEVICE void product_by_persistent_blocks(const hopper::TensorMap* x, const hopper::TensorMap* y,
                                            const Arguments& g) {
  __shared__ uint64_t full[T::STAGES], empty[T::STAGES];
  const Stages<T> stages = make_stages<T>(full, empty);
  const unsigned rank = hopper::rank_in_cluster(), first = block_index() / hopper::CLUSTER;
  const unsigned k_tiles = tiles_in(g.b, T::BM), walkers = g.walkers;
  const unsigned pairs = (static_cast<unsigned>(g.batch) + 2 * T::BN - 1) / (2 * T::BN);
  const unsigned all = pairs * k_tiles * g.a * g.d;
  const int group = thread_index() / 128;
  if (group == 0) {
    hopper::give_registers<40>();
    if (thread_index() == 0) {
      Producer<T> producer(x, g, stages, rank);
      for (unsigned pair = first; pair < all; pair += walkers) producer.copy_tile(place_of_pair<T>(g, pair, rank));
    }
  } else {
    hopper::take_registers<232>();
    Consumer<T> consumer(y, g, stages, group - 1);
    for (unsigned pair = first; pair < all; pair += walkers) {
      consumer.multiply_tile();
      consumer.store_tile(place_of_pair<T>(g, pair, rank));
    }
    consumer.finish();
  }
  hopper::cluster_barrier();  // until the other block has read and released its last stages
}

using TheTile = PersistentTile<KS_TILE>;
static_assert(TheTile::THREADS == KS_THREADS, "tile.py counts other threads");
static_assert(TheTile::SHARED_BYTES == KS_SHARED_BYTES, "tile.py counts other bytes of shared memory");

}  // namespace ks

extern "C" __global__ void __cluster_dims__(ks::hopper::CLUSTER) __launch_bounds__(KS_THREADS, 1)
    ks_product(const __grid_constant__ ks::hopper::TensorMap x, const __grid_constant__ ks::hopper::TensorMap y,
               const ks::Arguments arguments) {
  ks::product_by_persistent_blocks<ks::TheTile>(&x, &y, arguments);
}
