// A chain in clusters: the blocks of a cluster divide the first factor's tiles, and each of them has only the part
// of the intermediate that its own tiles of the second factor read.
#pragma once

#include "chain.cuh"

namespace ks {

/// The tiles of the first factor that a cluster needs; its blocks take them in turns.
template <int CLUSTER>
struct InTurns {
  const Needs needs;
  int others;  // needed tiles of other blocks before this one's next; at first its rank

  KS_DEVICE bool any(int feature, int count) {
    if (!needs.any(feature, count)) return false;
    others = others == 0 ? CLUSTER - 1 : others - 1;
    return others == CLUSTER - 1;
  }
};

/// The tiles of the second factor that a cluster computes: `each` of them in a block, rank by rank.
struct Pieces {
  int begin, end, each;

  /// Calls f(rank) for each block that computes some of the tiles from `from` to `to`.
  template <class F>
  KS_DEVICE void each_block(int from, int to, F f) const {
    if (from < begin) from = begin;
    if (to > end) to = end;
    if (from >= to) return;
    const int last = (to - 1 - begin) / each;
    for (int rank = (from - begin) / each; rank <= last; ++rank) f(rank);
  }
};

/// What a block of a cluster has of the intermediate: the planes of the groups of j's that its own tiles read. These
/// are at most `held` groups in a row, so the place of a group is its number modulo `held`, in every block that
/// reads it: the address of a feature differs between them only in the rank.
template <class T, int CLUSTER>
class Slice : public Intermediate<T> {
  using E = typename T::Element;
  using Intermediate<T>::rows, Intermediate<T>::c, Intermediate<T>::d;

  const int k_tiles, held;

 public:
  const Pieces pieces;

  KS_DEVICE Slice(const ChainArguments& g, E* rows)
      : Intermediate<T>(g, rows), k_tiles(tiles_in(g.second.b, T::BM)), held(static_cast<int>(g.held)),
        pieces(pieces_of_cluster(g)) {}

  KS_DEVICE E* columns(int i, int j) const {
    return rows + (group(i, j) % held * neighbours() + j % T::J) * this->plane();
  }

  /// Stores values of a feature from batch entry n on, in every block that reads them.
  template <class V>
  KS_DEVICE void put(int feature, int n, V values) const {
    const int l = feature / d, i = l / c, j = feature % d, tile = group(i, j) * k_tiles;
    E* const to = columns(i, j) + l % c * T::X_PITCH + n;
    pieces.each_block(tile, tile + k_tiles, [&](int rank) { store_shared_of(rank, to, values); });
  }

  KS_DEVICE void clear_padding() const {
    Intermediate<T>::clear_padding([&] { return held * neighbours(); });
  }

 private:
  KS_DEVICE static Pieces pieces_of_cluster(const ChainArguments& g) {
    const int tiles = g.second.a * tiles_in(g.second.d, T::J) * tiles_in(g.second.b, T::BM);
    const int each = tiles_in(tiles, static_cast<int>(g.shares)), all = CLUSTER * each;
    const int begin = static_cast<int>(block_index() % g.shares) / CLUSTER * all;
    return {begin, tiles - begin < all ? tiles : begin + all, each};
  }

  /// Numbers the groups of j's that tiles take together, of all i's.
  KS_DEVICE int group(int i, int j) const { return i * tiles_in(d, T::J) + j / T::J; }
  KS_DEVICE int neighbours() const { return T::FLAT ? d : T::J; }
};

}  // namespace ks
