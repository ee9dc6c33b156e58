// Y = X Kᵀ: vectors run along the features (k, j), j fastest; rows of the tile along the batch. An element of
// two words counts as two neighbouring j's that share a vector.
#pragma once

#include "twin_pack.hpp"
#include "twin_store.hpp"

// A few vectors of features for `period` neighbouring j's from `first_j`.
struct Panel {
  int64_t first_j;
  int period;
  int64_t first_vector;
  int vectors;
  int64_t offset;  // in the packed weights of one i
};

constexpr int64_t kBundleWords = 64 * 1024;  // a quarter of a core's second-level cache
constexpr int kWholeTiles = 24;  // a multiple of the rows of every full tile

// Panels with the same j's.
struct Group {
  int64_t first_j;
  int period;
  int64_t vectors;
  Range panels;  // the narrowest last
};

template <class Element>
class BatchFirst final : public Plan {
  using Math = typename MathOf<Element>::Type;

  std::vector<Panel> panels_;
  std::vector<Group> groups_;
  int64_t packed_per_i_ = 0;
  int64_t vectors_per_i_ = 0;

  template <class>
  friend class BatchFirstProduct;

 public:
  BatchFirst(const Shape& wanted, const Tile& cut) {
    shape = wanted;
    tile = cut;
    depth = divide_up(shape.c, Math::kTerms);
    // d is split into the longest periods, then decreasing powers of two, so no d needs padding.
    int period = tile.period;
    for (int64_t j = 0; j < shape.d; j += period) {
      while (period > shape.d - j) period /= 2;
      append_group(j, period);
    }
    words = shape.a * packed_per_i_;
  }

  bool pack(const void* memory, bool transposed, float* packed, int threads) const override {
    const Weights<Element> weights(memory, shape, transposed);
    if (transposed)
      return for_each_part(shape.a * depth, words, shape.b * shape.d, threads,
                           [&](int64_t item, float* room) { pack_step(weights, item, packed, room); });
    return for_each_part(shape.a * vectors_per_i_, words, depth * (kLanes + shape.d) + kLanes, threads,
                         [&](int64_t item, float* room) { pack_vector(weights, item, packed, room); });
  }

  bool multiply(const float* packed, const void* x, void* y, const Batch& batch, int threads) const override;

 private:
  void append_group(int64_t first_j, int period) {
    const int64_t first = int64_t(panels_.size());
    const Range vectors{0, divide_up(shape.b * period, kLanes)};
    const int64_t count = divide_up(vectors.size(), tile.vectors);
    for (int64_t index = 0; index < count; ++index) {
      const Range mine = share(vectors, index, count);
      panels_.push_back({first_j, period, mine.begin, int(mine.size()), packed_per_i_});
      packed_per_i_ += mine.size() * depth * kLanes;
    }
    vectors_per_i_ += vectors.size();
    groups_.push_back({first_j, period, vectors.size(), {first, int64_t(panels_.size())}});
  }

  // Weights of shape (a, c, b, d): one step of l is a run of (k, j).
  void pack_step(const Weights<Element>& weights, int64_t item, float* to, float* room) const {
    const auto [i, step] = divide(item, depth);
    const int64_t l = step * Math::kTerms;
    const Element* second = l + 1 < shape.c ? weights.at(i, 0, l + 1) : nullptr;
    const float* words = words_across_l(weights.at(i, 0, l), second, shape.b * shape.d, room);
    for (const Panel& panel : panels_) {
      const int64_t width = panel.vectors * kLanes, per_vector = kLanes / panel.period;
      const int64_t k = panel.first_vector * per_vector;
      const int64_t count = std::min(panel.vectors * per_vector, shape.b - k);
      float* row = to + i * packed_per_i_ + panel.offset + step * width;
      const float* from = words + k * shape.d + panel.first_j;
      if (panel.period == shape.d)
        copy_words(from, count * panel.period, row);
      else
        copy_units(panel.period, from, shape.d, row, panel.period, count);
      std::fill(row + count * panel.period, row + width, 0.0f);
    }
  }

  // Weights of shape (a, b, c, d): the rows k of one vector are transposed.
  void pack_vector(const Weights<Element>& weights, int64_t item, float* to, float* room) const {
    const Divided at = divide(item, vectors_per_i_);
    const int64_t i = at.quotient;
    int64_t vector = at.remainder;
    size_t index = 0;
    for (; vector >= groups_[index].vectors; ++index) vector -= groups_[index].vectors;
    const Group& group = groups_[index];
    const Panel& panel = panel_of(group, vector);
    const int64_t rows = kLanes / group.period, k = vector * rows, stride = depth * group.period;
    const float* words = room;
    if (k + rows <= shape.b && group.period == shape.d && are_words(weights.first))
      words = reinterpret_cast<const float*>(weights.at(i, k, 0));
    else
      for (int64_t r = 0; r < rows; ++r)
        words_of_row(weights, i, k + r, group, room + r * stride, room + kLanes * depth);
    float* place = to + i * packed_per_i_ + panel.offset + (vector - panel.first_vector) * kLanes;
    gather_units(group.period, words, stride, depth, place, panel.vectors * kLanes);
  }

  const Panel& panel_of(const Group& group, int64_t vector) const {
    size_t index = size_t(group.panels.begin);
    while (vector >= panels_[index].first_vector + panels_[index].vectors) ++index;
    return panels_[index];
  }

  // Whether the elements of W or X are words as they lie.
  bool are_words(const void* memory) const {
    if (kIsWord<Element>) return true;
    const bool aligned = reinterpret_cast<uintptr_t>(memory) % sizeof(float) == 0;
    return Math::kTerms == 2 && shape.d == 1 && shape.c % 2 == 0 && aligned;
  }

  // The words of one k and the j's of a group; zeros beyond b.
  void words_of_row(const Weights<Element>& weights, int64_t i, int64_t k, const Group& group, float* row,
                    float* room) const {
    if (k >= shape.b) {
      std::fill(row, row + depth * group.period, 0.0f);
      return;
    }
    const float* words = words_along_l(weights.at(i, k, 0), shape.c, shape.d, room);
    copy_units(group.period, words + group.first_j, shape.d, row, group.period, depth);
  }
};

// One product of a plan.
template <class Element>
class BatchFirstProduct {
  using Math = typename MathOf<Element>::Type;
  using Plan = BatchFirst<Element>;

  struct Item {
    int64_t i;
    Range batch;
    Range panels;  // in one group
  };

  const Plan& plan_;
  const float* const packed_;
  const Shape& shape;
  const std::vector<Panel>& panels_;
  const std::vector<Group>& groups_;
  const Tile& tile;
  const int64_t depth, batch_;
  int64_t block_rows_;
  int64_t bundle_;  // neighbouring i's that take turns, since their weights fit the cache together

 public:
  BatchFirstProduct(const Plan& plan, const float* packed, int64_t batch)
      : plan_(plan),
        packed_(packed),
        shape(plan.shape),
        panels_(plan.panels_),
        groups_(plan.groups_),
        tile(plan.tile),
        depth(plan.depth),
        batch_(batch) {
    // About 128 KB of X per period: a quarter of a small core's second-level cache.
    const int64_t fitting = 32768 / (shape.c * std::min<int64_t>(shape.d, tile.period));
    const int64_t usual = std::clamp<int64_t>(fitting / kWholeTiles * kWholeTiles, kWholeTiles, 48);
    block_rows_ = std::min<int64_t>(batch, tile.block_rows ? tile.block_rows : usual);
    bundle_ = std::clamp<int64_t>(kBundleWords / plan.packed_per_i_, 1, shape.a);
  }

  bool run(const void* x, void* y, int threads) const {
    const Cut cut = cut_for(threads);
    const auto multiply_at = [&](int64_t index, int64_t next, float* rows) {
      const Item item = item_at(index, cut);
      Ahead ahead{};
      if (next < cut.items)
        ahead = ahead_of(static_cast<const Element*>(x), item_at(next, cut), chunks_of(item));
      multiply_item(static_cast<const Element*>(x), static_cast<Element*>(y), item, ahead, rows);
    };
    return for_each_item(cut, threads, block_rows_ * row_stride(panels_.front().period), multiply_at);
  }

 private:
  // Small batches are also split along the output features, so that every thread has work. Otherwise one
  // thread processes all groups of a block, because they write to the same cache lines of Y.
  Cut cut_for(int threads) const {
    const int64_t blocks = divide_up(batch_, block_rows_), groups = int64_t(groups_.size());
    const int64_t whole = shape.a * blocks * groups;
    const int64_t parts = std::clamp<int64_t>(divide_up(2 * threads, whole), 1, groups_.back().panels.size());
    return {blocks, parts, whole * parts, shape.a * blocks < 2 * threads ? 1 : groups};
  }

  // The group index varies fastest, then that of neighbouring i's, so consecutive items read and write
  // neighbouring memory.
  Item item_at(int64_t index, const Cut& cut) const {
    const auto [rest, part] = divide(index, cut.parts);
    const auto [row, group] = divide(rest, int64_t(groups_.size()));
    const auto [bundle, place] = divide(row, bundle_ * cut.blocks);
    const int64_t first_i = bundle * bundle_;
    const auto [block, i] = divide(place, std::min(bundle_, shape.a - first_i));
    const int64_t first = block * block_rows_;
    return {first_i + i,
            {first, std::min(batch_, first + block_rows_)},
            share(groups_[size_t(group)].panels, part, cut.parts)};
  }

  const Element* start_of(const Element* x, const Item& item) const {
    const int64_t first_j = panels_[size_t(item.panels.begin)].first_j;
    return x + item.batch.begin * shape.columns() + item.i * shape.c * shape.d + first_j;
  }

  Ahead ahead_of(const Element* x, const Item& item, int64_t chunks) const {
    const int64_t bytes = sizeof(Element), piece = std::max<int64_t>(shape.d, 64 / bytes);
    const int64_t pieces = divide_up(shape.c * shape.d, piece);
    return {reinterpret_cast<const char*>(start_of(x, item)), pieces, pieces, piece * bytes,
            (shape.columns() - pieces * piece) * bytes, divide_up(item.batch.size() * pieces, chunks)};
  }

  // Chunks of steps of all tiles of an item.
  int64_t chunks_of(const Item& item) const {
    return divide_up(item.batch.size(), tile.rows) * item.panels.size() * divide_up(depth, kChunk);
  }

  // Whether a tile can read X without packing: several panels do not if all rows would map to a few sets of
  // the cache.
  bool is_read_in_place(const void* x, const Item& item, int period) const {
    const int64_t row_bytes = shape.columns() * int64_t(sizeof(Element));
    return plan_.are_words(x) && period == shape.d && (row_bytes % 4096 != 0 || item.panels.size() == 1);
  }

  // Padded, because rows of a power of two would map to a few sets of the cache.
  int64_t row_stride(int period) const { return divide_up(depth * period, kLanes) * kLanes + kLanes; }

  void multiply_item(const Element* x, Element* y, const Item& item, Ahead& ahead, float* room) const {
    const int64_t count = item.batch.size();
    const int period = panels_[size_t(item.panels.begin)].period;
    const bool in_place = is_read_in_place(x, item, period);
    const int64_t stride = in_place ? shape.columns() / Math::kTerms : row_stride(period);
    const float* rows = room;
    if (in_place)
      rows = reinterpret_cast<const float*>(start_of(x, item));
    else
      pack_rows(start_of(x, item), count, period, room);
    y += item.batch.begin * shape.rows() + item.i * shape.b * shape.d;
    for (int64_t index = item.panels.begin; index < item.panels.end; ++index)
      for (int64_t n = 0; n < count;) {
        const int taken = rows_taken(count - n, tile.rows, panels_[size_t(index)].vectors);
        multiply_rows(y + n * shape.rows(), item.i, panels_[size_t(index)], taken, rows + n * stride, stride,
                      &ahead);
        n += taken;
      }
  }

  void multiply_rows(Element* y, int64_t i, const Panel& panel, int taken, const float* rows,
                     int64_t stride, Ahead* ahead) const {
    const int64_t first_k = panel.first_vector * kLanes / panel.period;
    const int64_t valid = std::min<int64_t>(panel.vectors * kLanes, (shape.b - first_k) * panel.period);
    const int64_t run = panel.period == shape.d ? valid : panel.period;
    const float* weights = packed_ + i * plan_.packed_per_i_ + panel.offset;
    const TileOperands<Element> operands{weights, rows, stride, panel.period, depth, ahead};
    run_tile<Element>(choose_kernel<Element>(taken, panel.vectors, panel.period), operands, panel.vectors,
                      {y + first_k * shape.d + panel.first_j, taken, shape.rows(), valid, run, shape.d});
  }

  void pack_rows(const Element* from, int64_t count, int period, float* rows) const {
    for (int64_t n = 0; n < count; ++n, rows += row_stride(period), from += shape.columns()) {
      if (period == shape.d && Math::kTerms == 1) {
        widen_run(from, rows, shape.c * shape.d);
        continue;
      }
      if (shape.d == 1 && Math::kTerms == 2) {  // neighbouring terms already form words
        rows[depth - 1] = 0.0f;
        std::memcpy(rows, from, size_t(shape.c) * sizeof(Element));
        continue;
      }
      switch (period) {
        case 1: pack_row<1>(from, rows); break;
        case 2: pack_row<2>(from, rows); break;
        case 4: pack_row<4>(from, rows); break;
        default: pack_row<kLongestPeriod>(from, rows);
      }
    }
  }

  template <int kPeriod>
  void pack_row(const Element* from, float* to) const {
    const int64_t whole = shape.c / Math::kTerms, second = (Math::kTerms - 1) * shape.d;
    for (int64_t step = 0; step < whole; ++step, to += kPeriod, from += Math::kTerms * shape.d)
      for (int j = 0; j < kPeriod; ++j) to[j] = Math::word(from[j], from[second + j]);
    if (whole < depth)
      for (int j = 0; j < kPeriod; ++j) to[j] = Math::word(from[j], Element{});
  }
};

template <class Element>
bool BatchFirst<Element>::multiply(const float* packed, const void* x, void* y, const Batch& batch,
                                   int threads) const {
  return BatchFirstProduct<Element>(*this, packed, batch.size).run(x, y, threads);
}
