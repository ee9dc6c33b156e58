// Y = K X: vectors run along the batch, rows of the tile along k.
#pragma once

#include "twin_store.hpp"

// Bytes of X packed by one item; the second-level cache also holds the weights, Y and the next item's X.
constexpr int64_t kPackedWords = 24 * 1024;
constexpr int64_t kItemsOfThread = 4;

template <class Element>
class BatchLast final : public Plan {
  using Math = typename MathOf<Element>::Type;

  struct Item {
    int64_t ij;     // index among the a·d dense products, j fastest
    Range columns;  // batch entries
    Range outputs;  // rows k
  };

  int64_t row_stride_ = 0;  // words from one row of the packed weights to the next

  static int vectors_of(Range columns) { return int(divide_up(columns.size(), kLanes)); }

 public:
  bool prepare(const Shape& wanted, const Tile& cut, const Element* weights) {
    shape = wanted;
    tile = cut;
    depth = divide_up(shape.c, Math::kTerms);
    // Long rows are padded, because rows of a power of two would map to a few sets of the cache.
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
    // Items are as wide as possible, for long runs of memory, while every thread has work.
    const int64_t vectors = divide_up(shape.batch, kLanes), products = shape.a * shape.d;
    const int64_t fitting = std::max<int64_t>(tile.vectors, kPackedWords / (depth * kLanes));
    const int64_t even = divide_up(kItemsOfThread * threads, products);
    const int64_t most_blocks = divide_up(vectors, tile.vectors);
    const int64_t blocks = std::min(most_blocks, std::max(divide_up(vectors, fitting), even));
    const int64_t whole = products * blocks, most = divide_up(shape.b, tile.rows);
    const int64_t parts = std::clamp<int64_t>(divide_up(2 * threads, whole), 1, most);
    // Neighbouring blocks share a cache line of Y unless their ends are multiples of a line.
    const Cut cut{blocks, parts, whole * parts, std::clamp<int64_t>(whole / (8 * threads), 1, 4)};
    const auto multiply_at = [&](int64_t index, int64_t next, float* room) {
      Ahead ahead = next < cut.items ? ahead_of(static_cast<const Element*>(x), item_at(next, cut)) : Ahead{};
      multiply_item(static_cast<const Element*>(x), static_cast<Element*>(y), item_at(index, cut), ahead, room);
    };
    const int64_t words = depth * kLanes * divide_up(vectors, blocks);
    return for_each_item(cut, threads, words, multiply_at);
  }

 private:
  Item item_at(int64_t index, const Cut& cut) const {
    const auto [rest, part] = divide(index, cut.parts);
    const auto [ij, block] = divide(rest, cut.blocks);
    const Range vectors = share({0, divide_up(shape.batch, kLanes)}, block, cut.blocks);
    return {ij,
            {vectors.begin * kLanes, std::min(shape.batch, vectors.end * kLanes)},
            share({0, shape.b}, part, cut.parts)};
  }

  // Distance between rows of one (i, j), in X and in Y.
  int64_t stride() const { return shape.d * shape.batch; }

  const Element* start_of(const Element* x, const Item& item) const {
    const int64_t i = item.ij / shape.d, j = item.ij % shape.d;
    return x + (i * shape.c * shape.d + j) * shape.batch + item.columns.begin;
  }

  Ahead ahead_of(const Element* x, const Item& item) const {
    const int64_t pieces = divide_up(item.columns.size() * int64_t(sizeof(Element)), 64);
    return {reinterpret_cast<const char*>(start_of(x, item)), stride() * int64_t(sizeof(Element)), pieces * 64, 64,
            shape.c * pieces};
  }

  // The columns of an item as panels of almost equal numbers of vectors, the wider ones first.
  struct Panels {
    Range columns;
    int64_t count, narrow, wider;

    Panels(Range columns, int64_t most) : columns(columns) {
      const int64_t vectors = vectors_of(columns);
      count = divide_up(vectors, most);
      narrow = vectors / count;
      wider = vectors % count;
    }

    // Calls `visit(columns, vectors, words before)` for each panel.
    template <class Visit>
    void each(const Visit& visit) const {
      int64_t begin = columns.begin, before = 0;
      for (int64_t index = 0; index < count; ++index) {
        const int64_t vectors = narrow + (index < wider), end = begin + vectors * kLanes;
        visit(Range{begin, std::min(end, columns.end)}, int(vectors), before);
        begin = end;
        before += vectors * kLanes;
      }
    }
  };

  void multiply_item(const Element* x, Element* y, const Item& item, Ahead& ahead, float* room) const {
    const Panels panels(item.columns, tile.vectors);
    pack_columns(start_of(x, item), panels, room);
    const int64_t i = item.ij / shape.d, j = item.ij % shape.d;
    y += (i * shape.b * shape.d + j) * shape.batch;
    const int64_t tiles = divide_up(item.outputs.size(), tile.rows) * panels.count;
    const int64_t lines = divide_up(ahead.left, tiles * divide_up(depth, kChunk));
    for (int64_t k = item.outputs.begin; k < item.outputs.end;) {
      const int taken = rows_taken(item.outputs.end - k, tile.rows);
      const float* rows = packed.get() + (item.ij * shape.b + k) * row_stride_;
      panels.each([&](Range columns, int vectors, int64_t before) {
        const int64_t valid = columns.size();
        run_tile<Element>(choose_kernel<Element>(taken, vectors, 1),
                          {room + depth * before, rows, row_stride_, depth, &ahead, lines}, vectors,
                          {y + k * stride() + columns.begin, taken, stride(), valid, valid, valid});
      });
      k += taken;
    }
  }

  // Packs X row by row, so that memory is read in long runs.
  void pack_columns(const Element* from, const Panels& panels, float* room) const {
    from -= panels.columns.begin;
    for (int64_t step = 0; step < depth; ++step, from += Math::kTerms * stride())
      panels.each([&](Range columns, int vectors, int64_t before) {
        const int64_t valid = columns.size(), width = vectors * kLanes;
        float* to = room + depth * before + step * width;
        if (Math::kTerms == 1 && valid == width) return widen_vectors(from + columns.begin, to, vectors);
        pack_row(from + columns.begin, step * Math::kTerms, valid, to);
        for (int64_t n = valid; n < width; ++n) to[n] = 0.0f;
      });
  }

  void pack_row(const Element* from, int64_t l, int64_t valid, float* to) const {
    if (Math::kTerms == 1) return widen_run(from, to, valid);
    for (int64_t n = 0; n < valid; ++n) to[n] = word_at<Math>(from + n, stride(), l, shape.c);
  }
};
