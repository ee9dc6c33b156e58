// Y = X Kᵀ: vectors run along the features (k, j), j fastest; rows of the tile along the batch.
#pragma once

#include "twin_store.hpp"

// A few vectors of features for `period` neighbouring j's from `first_j`.
struct Panel {
  int64_t first_j;
  int period;
  int64_t first_vector;
  int vectors;
  int64_t offset;  // in the packed weights of one i
};

template <class Element>
class BatchFirst final : public Plan {
  using Math = typename MathOf<Element>::Type;

  struct Item {
    int64_t i;
    Range batch;
    Range panels;  // in one group
  };

  std::vector<Panel> panels_;
  std::vector<Range> groups_;  // panels with the same j's, the narrowest last
  int64_t packed_per_i_ = 0;
  int64_t block_rows_ = 0;

 public:
  bool prepare(const Shape& wanted, const Tile& cut, const Element* weights) {
    shape = wanted;
    tile = cut;
    depth = divide_up(shape.c, Math::kTerms);
    // d is split into the longest periods, then decreasing powers of two, so no d needs padding.
    int period = tile.period;
    for (int64_t j = 0; j < shape.d; j += period) {
      while (period > shape.d - j) period /= 2;
      append_group(j, period);
    }
    // About 128 KB of X per period: a quarter of a small core's second-level cache.
    const int64_t fitting = 32768 / (shape.c * std::min<int64_t>(shape.d, tile.period));
    const int64_t usual = std::clamp<int64_t>(fitting / kTileRows * kTileRows, kTileRows, 64);
    block_rows_ = std::min<int64_t>(shape.batch, tile.block_rows ? tile.block_rows : usual);
    packed = allocate_words(shape.a * packed_per_i_);
    if (!packed) return false;
    for (int64_t i = 0; i < shape.a; ++i)
      for (const Panel& panel : panels_) pack_weights(weights, i, panel);
    return true;
  }

  bool multiply(const void* x, void* y, int threads) const override {
    const Cut cut = cut_for(threads);
    const auto multiply_at = [&](int64_t index, int64_t next, float* rows) {
      Ahead ahead = next < cut.items ? ahead_of(static_cast<const Element*>(x), item_at(next, cut)) : Ahead{};
      multiply_item(static_cast<const Element*>(x), static_cast<Element*>(y), item_at(index, cut), ahead, rows);
    };
    return for_each_item(cut, threads, block_rows_ * row_stride(panels_.front().period), multiply_at);
  }

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
    groups_.push_back({first, int64_t(panels_.size())});
  }

  void pack_weights(const Element* weights, int64_t i, const Panel& panel) {
    float* to = packed.get() + i * packed_per_i_ + panel.offset;
    for (int64_t l = 0; l < shape.c; l += Math::kTerms)
      for (int64_t lane = 0; lane < panel.vectors * kLanes; ++lane) {
        const int64_t feature = panel.first_vector * kLanes + lane;
        const int64_t k = feature / panel.period, j = panel.first_j + feature % panel.period;
        *to++ = k < shape.b ? word_at<Math>(weights + shape.weight(i, k, l, j), shape.d, l, shape.c) : 0.0f;
      }
  }

  // Small batches are also split along the output features, so that every thread has work. Otherwise one
  // thread processes all groups of a block, because they write to the same cache lines of Y.
  Cut cut_for(int threads) const {
    const int64_t blocks = divide_up(shape.batch, block_rows_), groups = int64_t(groups_.size());
    const int64_t whole = shape.a * blocks * groups;
    const int64_t parts = std::clamp<int64_t>(divide_up(2 * threads, whole), 1, groups_.back().size());
    return {blocks, parts, whole * parts, shape.a * blocks < 2 * threads ? 1 : groups};
  }

  // The group index varies faster than the block index, so consecutive items reuse cached lines of X and Y.
  Item item_at(int64_t index, const Cut& cut) const {
    const auto [rest, part] = divide(index, cut.parts);
    const auto [row, group] = divide(rest, int64_t(groups_.size()));
    const auto [i, block] = divide(row, cut.blocks);
    const int64_t first = block * block_rows_;
    return {i,
            {first, std::min(shape.batch, first + block_rows_)},
            share(groups_[size_t(group)], part, cut.parts)};
  }

  const Element* start_of(const Element* x, const Item& item) const {
    const int64_t first_j = panels_[size_t(item.panels.begin)].first_j;
    return x + item.batch.begin * shape.columns() + item.i * shape.c * shape.d + first_j;
  }

  Ahead ahead_of(const Element* x, const Item& item) const {
    const int64_t piece = std::max<int64_t>(shape.d, 64 / sizeof(Element));
    const int64_t pieces = divide_up(shape.c * shape.d, piece);
    const int64_t bytes = sizeof(Element);
    return {reinterpret_cast<const char*>(start_of(x, item)), shape.columns() * bytes, pieces * piece * bytes,
            piece * bytes, item.batch.size() * pieces};
  }

  // Whether a tile can read X without packing: not if all rows would map to a few sets of the cache.
  bool is_read_in_place(int period) const {
    return std::is_same<Element, Fp32>::value && period == shape.d && shape.columns() % 1024 != 0;
  }

  // Padded, because rows of a power of two would map to a few sets of the cache.
  int64_t row_stride(int period) const { return divide_up(depth * period, kLanes) * kLanes + kLanes; }

  void multiply_item(const Element* x, Element* y, const Item& item, Ahead& ahead, float* room) const {
    const int64_t count = item.batch.size();
    const int period = panels_[size_t(item.panels.begin)].period;
    const int64_t stride = is_read_in_place(period) ? shape.columns() : row_stride(period);
    const float* rows = room;
    if (is_read_in_place(period))
      rows = reinterpret_cast<const float*>(start_of(x, item));
    else
      pack_rows(start_of(x, item), count, period, room);
    y += item.batch.begin * shape.rows() + item.i * shape.b * shape.d;
    const int64_t tiles = divide_up(count, tile.rows) * item.panels.size();
    const int64_t lines = divide_up(ahead.left, tiles * divide_up(depth, kChunk));
    for (int64_t index = item.panels.begin; index < item.panels.end; ++index)
      for (int64_t n = 0; n < count;) {
        const int taken = rows_taken(count - n, tile.rows);
        multiply_rows(y + n * shape.rows(), item.i, panels_[size_t(index)], taken, rows + n * stride, stride,
                      &ahead, lines);
        n += taken;
      }
  }

  void multiply_rows(Element* y, int64_t i, const Panel& panel, int taken, const float* rows,
                     int64_t stride, Ahead* ahead, int64_t lines) const {
    const int64_t first_k = panel.first_vector * kLanes / panel.period;
    const int64_t valid = std::min<int64_t>(panel.vectors * kLanes, (shape.b - first_k) * panel.period);
    const int64_t run = panel.period == shape.d ? valid : panel.period;
    const float* weights = packed.get() + i * packed_per_i_ + panel.offset;
    const TileOperands<Element> operands{weights, rows, stride, depth, ahead, lines};
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
