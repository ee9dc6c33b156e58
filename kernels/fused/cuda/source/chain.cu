// A chain of two factors: one kernel for a pair of tiles, which kernels/fused/cuda_chain/tile.py gives in
// KS_TILE and KS_SECOND_TILE.
//
// A block has one batch tile. It multiplies it by all tiles of the first factor (by those that its share
// needs) into shared memory, and from there by its share of the tiles of the second factor. In a cluster of blocks
// each multiplies by some of the first factor's tiles, and writes the sums to all blocks that read them.
#include "chain_cluster.cuh"

namespace ks {

template <class First, class Second, int CLUSTER>
class Chain {
  using E = typename First::Element;
  using Held = typename Either<CLUSTER == 1, Intermediate<Second>, Slice<Second, CLUSTER>>::Type;
  static constexpr int FIRST_BYTES = First::LOOP_BYTES;
  static constexpr int SECOND_BYTES = sizeof(E) * Second::STAGES * Second::W_ELEMENTS;
  static constexpr int Y_OFFSET_BYTES = FIRST_BYTES > SECOND_BYTES ? FIRST_BYTES : SECOND_BYTES;

 public:
  static constexpr int THREADS = First::THREADS;
  /// The intermediate follows after this.
  static constexpr int SHARED_BYTES = Y_OFFSET_BYTES + Second::WHOLE_Y_BYTES;
  /// A chain keeps two places and the intermediate's sizes besides the sums.
  static constexpr int MOST_SUMS =
      First::SUM_REGISTERS > Second::SUM_REGISTERS ? First::SUM_REGISTERS : Second::SUM_REGISTERS;
  static constexpr int REGISTERS = MOST_SUMS > 64 ? 255 : MOST_SUMS > 32 ? 168 : 128;
  static constexpr int BLOCKS = 65536 / (THREADS * REGISTERS);
  static_assert(First::THREADS == Second::THREADS && First::BN == Second::BN, "one block computes both");

 private:
  const ChainArguments& g;
  const int share = block_index() % g.shares;
  const long long n0 = static_cast<long long>(block_index() / g.shares) * First::BN;
  E* const stages = reinterpret_cast<E*>(shared_memory());
  E* const turned = stages + First::STAGES * First::STAGE_ELEMENTS;
  const Held intermediate{g, reinterpret_cast<E*>(shared_memory() + SHARED_BYTES)};

 public:
  KS_DEVICE explicit Chain(const ChainArguments& g) : g(g) {}

  KS_DEVICE void run() const {
    const Arguments& last = g.second;
    const int tiles = last.a * tiles_in(last.d, Second::J) * tiles_in(last.b, Second::BM);
    const int each = tiles_in(tiles, static_cast<int>(g.shares));
    const int begin = share * each, end = tiles - begin < each ? tiles : begin + each;
    if constexpr (CLUSTER == 1) {
      if (begin >= end) return;
      intermediate.clear_padding();
      multiply_first(needs(begin, end));
      barrier();  // the intermediate is complete, and no thread reads the stages
    } else {
      const Pieces& all = intermediate.pieces;
      if (all.begin >= all.end) return;
      intermediate.clear_padding();
      cluster_barrier();  // all blocks have started, so their shared memory can be written
      multiply_first(InTurns<CLUSTER>{needs(all.begin, all.end), share % CLUSTER});
      cluster_barrier();  // the same in all blocks; none writes to another one after this
    }
    multiply_second(begin, end);
  }

 private:
  /// What the second factor's tiles from `begin` to `end` read.
  KS_DEVICE Needs needs(int begin, int end) const {
    const Arguments& last = g.second;
    const int k_tiles = tiles_in(last.b, Second::BM), groups = tiles_in(last.d, Second::J);
    const int from = begin / k_tiles, to = (end - 1) / k_tiles;  // numbers of (i, group of j's)
    const int features = last.c * last.d;
    Needs found{from / groups * features, (to / groups + 1) * features, 0, last.d, last.d};
    if (from / groups == to / groups) {
      found.j_begin = from % groups * Second::J;
      found.j_end = (to % groups + 1) * Second::J;
    }
    return found;
  }

  template <class Needed>
  KS_DEVICE void multiply_first(Needed needed) const {
    const Arguments& first = g.first;
    const int tiles = first.a * tiles_in(first.d, First::J) * tiles_in(first.b, First::BM);
    walk<First, First::STAGE_ELEMENTS>(
        Walk<First, Needed>(first, n0, 0, tiles, needed),
        [&](const auto& ahead, E* stage) {
          Copies<First>(first, ahead.at).issue(ahead.step, 0, ahead.at.ns, stage);
        },
        [&](auto& sums, const auto& now, const E* x) {
          const E* const w = x + First::X_ELEMENTS;
          if constexpr (First::TURNED) {
            turn<First>(x, turned, now.at.js);
            barrier();
            sums.step(w, turned, now.at.js);
          } else {
            sums.step(w, x, now.at.js);
          }
        },
        [&](auto& sums, const Place& at) {
          sums.store(IntermediateTile<E, Held>{intermediate, first, at}, at.js);
        });
  }

  KS_DEVICE void multiply_second(int begin, int end) const {
    const Arguments& last = g.second;
    walk<Second, Second::W_ELEMENTS>(
        Walk<Second, Everything>(last, n0, begin, end, {}),
        [&](const auto& ahead, E* stage) {
          Copies<Second>(last, ahead.at).copy_weights(ahead.step, stage);
        },
        [&](auto& sums, const auto& now, const E* w) {
          const E* const x = intermediate.columns(now.at.i, now.at.j0);
          sums.step(w, x + now.step * (Second::BK * Second::X_PITCH), now.at.js, intermediate.plane());
        },
        [&](auto& sums, const Place& at) {
          add_bias<Second>(sums, last, at);
          const Y<Second, E> y{reinterpret_cast<E*>(shared_memory() + Y_OFFSET_BYTES)};
          sums.store(y, at.js);
          barrier();  // Y is complete; it is read before the next tile's first step ends
          scatter<Second>(y, last, at);
        });
  }

  /// Multiplies tile after tile; the copies of STAGES - 1 steps are in flight, also between two tiles.
  template <class T, int STAGE, class Way, class Issue, class Multiply, class End>
  KS_DEVICE void walk(Way now, Issue issue, Multiply multiply, End end) const {
    Way ahead = now;
    int stage = 0;  // of the step that is multiplied
    for (int step = 0; step < T::STAGES - 1; ++step) issue_next<STAGE>(ahead, step, issue);
    for (; now.more(); now.next_tile()) {
      typename MultiplyBy<T, T::FAMILY>::Type sums;
      for (; now.step < now.steps; ++now.step) {
        wait_copies<T::STAGES - 2>();
        barrier();  // this step's copies are visible to all threads; the previous step's stage is free
        issue_next<STAGE>(ahead, stage == 0 ? T::STAGES - 1 : stage - 1, issue);
        multiply(sums, now, stages + stage * STAGE);
        stage = stage + 1 == T::STAGES ? 0 : stage + 1;
        if constexpr (T::BLOCKED) {
          if ((now.step + 1) % T::BLOCK_STEPS == 0) sums.end_block();
        }
      }
      if constexpr (T::BLOCKED) sums.add_blocks();
      end(sums, now.at);
    }
  }

  template <int STAGE, class Way, class Issue>
  KS_DEVICE void issue_next(Way& ahead, int stage, Issue issue) const {
    if (ahead.more()) {
      issue(ahead, stages + stage * STAGE);
      ahead.next_step();
    }
    commit_copies();
  }
};

using TheChain = Chain<Tile<KS_TILE>, FromIntermediate<Tile<KS_SECOND_TILE>>, KS_CLUSTER>;
static_assert(TheChain::THREADS == KS_THREADS, "tile.py counts other threads");
static_assert(TheChain::SHARED_BYTES == KS_SHARED_BYTES, "tile.py counts other bytes of shared memory");

}  // namespace ks

#if KS_CLUSTER > 1
#define KS_IN_CLUSTERS __cluster_dims__(KS_CLUSTER)
#else
#define KS_IN_CLUSTERS
#endif

extern "C" __global__ void KS_IN_CLUSTERS __launch_bounds__(KS_THREADS, ks::TheChain::BLOCKS)
    ks_chain(const ks::ChainArguments arguments) {
  ks::TheChain(arguments).run();
}
