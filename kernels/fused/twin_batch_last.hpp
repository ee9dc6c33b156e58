// Y = K X: vectors run over the batch, rows of the tile over k.
#pragma once

#include "twin_store.hpp"

template <class Element>
class BatchLast final : public Plan {
  using Math = typename MathOf<Element>::Type;

  struct Item {
    int64_t ij;     // of the a·d dense products, j fastest
    Range columns;  // of the batch
    Range outputs;  // k
  };

  int64_t row_stride_ = 0;  // words from one row of the packed weights to the next

  static int vectors_of(Range columns) { return int(divide_up(columns.size(), kLanes)); }

 public:
  bool prepare(const Shape& wanted, const Tile& cut, const Element* weights) {
    shape = wanted;
    tile = cut;
    depth = divide_up(shape.c, Math::kTerms);
    // Long rows lie a step off whole lines, or those of a power of two would share few sets of the cache.
    row_stride_ = depth < 128 ? depth : divide_up(depth, kLanes) * kLanes + kLanes;
    packed = allocate_words(shape.rows() * row_stride_);
    if (!packed) return false;
    float* row = packed.get();
    for (int64_t i = 0; i < shape.a; ++i)
      for (int64_t j = 0; j < shape.d; ++j)
        for (int64_t k = 0; k < shape.b; ++k, row += row_stride_)
          for (int64_t l = 0; l < shape.c; l += Math::kTerms)
            row[l / Math::kTerms] = word_at<Math>(weights + shape.weight(i, k, l, j), shape.d, l, shape.c);
    return true;
  }

  bool multiply(const void* x, void* y, int threads) const override {
    const int64_t blocks = divide_up(divide_up(shape.batch, kLanes), tile.vectors);
    const int64_t whole = shape.a * shape.d * blocks, most = divide_up(shape.b, tile.rows);
    const int64_t parts = std::clamp<int64_t>(divide_up(2 * threads, whole), 1, most);
    // Neighbouring blocks share a line of Y where their ends are no multiples of one.
    const Cut cut{blocks, parts, whole * parts, std::clamp<int64_t>(whole / (8 * threads), 1, 4)};
    const auto multiply_at = [&](int64_t index, int64_t next, float* panel) {
      const Item item = item_at(index, cut), then = item_at(next, cut);
      multiply_item(static_cast<const Element*>(x), static_cast<Element*>(y), item, then, panel);
    };
    return for_each_item(cut, threads, depth * kTileWidth, multiply_at);
  }

 private:
  Item item_at(int64_t index, const Cut& cut) const {
    const int64_t part = index % cut.parts, rest = index / cut.parts;
    const Range vectors = share({0, divide_up(shape.batch, kLanes)}, rest % cut.blocks, cut.blocks);
    return {rest / cut.blocks,
            {vectors.begin * kLanes, std::min(shape.batch, vectors.end * kLanes)},
            share({0, shape.b}, part, cut.parts)};
  }

  // From one row of this (i, j) to the next, in X and in Y.
  int64_t stride() const { return shape.d * shape.batch; }

  const Element* start_of(const Element* x, const Item& item) const {
    const int64_t i = item.ij / shape.d, j = item.ij % shape.d;
    return x + (i * shape.c * shape.d + j) * shape.batch + item.columns.begin;
  }

  Ahead ahead_of(const Element* x, const Item& item) const {
    const int64_t pieces = divide_up(item.columns.size() * int64_t(sizeof(Element)), 64);
    return {reinterpret_cast<const char*>(start_of(x, item)), stride() * int64_t(sizeof(Element)), pieces, 64,
            shape.c * pieces};
  }

  void multiply_item(const Element* x, Element* y, const Item& item, const Item& next, float* panel) const {
    pack_columns(start_of(x, item), item.columns, panel);
    const int64_t i = item.ij / shape.d, j = item.ij % shape.d;
    const int vectors = vectors_of(item.columns);
    const int64_t valid = item.columns.size();
    y += (i * shape.b * shape.d + j) * shape.batch + item.columns.begin;
    const Ahead ahead = ahead_of(x, next);
    for (int64_t k = item.outputs.begin; k < item.outputs.end;) {
      const int taken = rows_taken(item.outputs.end - k, tile.rows);
      const int64_t done = k - item.outputs.begin;
      ahead.fetch({done, done + taken}, item.outputs.size());
      const TileOperands<Element> operands{panel, packed.get() + (item.ij * shape.b + k) * row_stride_,
                                           row_stride_, depth};
      run_tile<Element>(choose_kernel<Element>(taken, vectors, 1), operands, vectors,
                        {y + k * stride(), taken, stride(), valid, valid, valid});
      k += taken;
    }
  }

  void pack_columns(const Element* from, Range columns, float* to) const {
    const int64_t valid = columns.size(), width = vectors_of(columns) * kLanes;
    for (int64_t l = 0; l < shape.c; l += Math::kTerms, from += Math::kTerms * stride(), to += width) {
      pack_row(from, l, valid, to);
      for (int64_t n = valid; n < width; ++n) to[n] = 0.0f;
    }
  }

  void pack_row(const Element* from, int64_t l, int64_t valid, float* to) const {
    if (Math::kTerms == 1) return widen_run(from, to, valid);
    for (int64_t n = 0; n < valid; ++n) to[n] = word_at<Math>(from + n, stride(), l, shape.c);
  }
};
