// Y = K X: vectors run along the batch, rows of the tile along k. Where an element has two words, so has an
// entry of the batch.
#pragma once

#include "twin_pack.hpp"
#include "twin_store.hpp"

// Bytes of X packed by one item; the second-level cache also holds the weights, Y and the next item's X.
constexpr int64_t kPackedWords = 24 * 1024;
constexpr int64_t kItemsOfThread = 4;

// The words of W in memory: distances between rows k of one (i, j), between steps of l, to the next (i, j).
struct Rows {
  const float* first;
  int64_t row_stride, step_stride, product_stride;
};

template <class Element>
class BatchLast final : public Plan {
  using Math = typename MathOf<Element>::Type;

  int64_t row_stride_;  // words from one row of the packed weights to the next

 public:
  BatchLast(const Shape& wanted, const Tile& cut) {
    shape = wanted;
    tile = cut;
    depth = divide_up(shape.c, Math::kTerms);
    // Long rows are padded, because rows of a power of two would map to a few sets of the cache.
    const int64_t row = depth * Math::kUnit;
    row_stride_ = row < 128 ? row : divide_up(row, kLanes) * kLanes + kLanes;
    words = shape.rows() * row_stride_;
  }

  bool pack(const void* memory, bool transposed, float* packed, int threads) const override {
    Shape in_words = shape;
    in_words.d *= Math::kUnit;
    const Weights<Element> weights(memory, in_words, transposed);
    if (transposed)
      return for_each_part(shape.a * divide_up(depth, kLanes), words, kLanes * shape.b * in_words.d, threads,
                           [&](int64_t item, float* room) { pack_steps(weights, item, packed, room); });
    return for_each_part(shape.a * shape.b, words, depth * shape.d + kLanes, threads,
                         [&](int64_t item, float* room) { pack_row_of(weights, item, packed, room); });
  }

  bool multiply(const float* packed, const void* x, void* y, const Batch& batch, int threads) const override;

  bool reads_in_place(const void* weights, bool transposed) const override {
    if (shape.d > 1 || reinterpret_cast<uintptr_t>(weights) % sizeof(float)) return false;
    if (kIsWord<Element>) return (transposed ? shape.b : shape.c) * Math::kUnit % 512 != 0;
    return Math::kTerms == 2 && !transposed && shape.c % 2 == 0 && depth % 512 != 0;
  }

  bool multiply_in_place(const void* weights, bool transposed, const void* x, void* y,
                         const Batch& batch, int threads) const override;

 private:
  float* row_at(float* packed, int64_t i, int64_t j, int64_t k) const {
    return packed + ((i * shape.d + j) * shape.b + k) * row_stride_;
  }

  // Weights of shape (a, b, c, d): the rows (i, k) of all j.
  void pack_row_of(const Weights<Element>& weights, int64_t item, float* packed, float* room) const {
    const auto [i, k] = divide(item, shape.b);
    const float* from = words_along_l(weights.at(i, k, 0), shape.c, shape.d * Math::kUnit, room);
    const auto split_all = Math::kUnit == 1 ? split : split_pairs;
    split_all(from, depth, shape.d, row_at(packed, i, 0, k), shape.b * row_stride_);
  }

  // Weights of shape (a, c, b, d): some steps of l are transposed with all (k, j).
  void pack_steps(const Weights<Element>& weights, int64_t item, float* packed, float* room) const {
    const Divided at = divide(item, divide_up(depth, kLanes));
    const int64_t i = at.quotient, first = at.remainder * kLanes;
    const int64_t steps = std::min<int64_t>(kLanes, depth - first);
    const int64_t run = shape.b * shape.d;
    const float* rows[kLanes];
    for (int64_t step = 0; step < steps; ++step) {
      const int64_t l = (first + step) * Math::kTerms;
      const Element* second = l + 1 < shape.c ? weights.at(i, 0, l + 1) : nullptr;
      rows[step] = words_across_l(weights.at(i, 0, l), second, run * Math::kUnit, room + step * run);
    }
    const auto to = [&](int64_t n) {
      const Divided kj = divide(n, shape.d);
      return row_at(packed, i, kj.remainder, kj.quotient) + first * Math::kUnit;
    };
    int64_t n = 0;
    if (steps == kLanes && Math::kUnit == 1)
      for (; n + kLanes <= run; n += kLanes)
        transpose<1>([&](int r) { return load_words(rows[r] + n); }, [&](int r) { return to(n + r); });
    for (; n < run; ++n)
      for (int64_t step = 0; step < steps; ++step)
        std::memcpy(to(n) + step * Math::kUnit, rows[step] + n * Math::kUnit, Math::kUnit * sizeof(float));
  }
};

// One product of a plan.
template <class Element>
class BatchLastProduct {
  using Math = typename MathOf<Element>::Type;

  struct Item {
    int64_t ij;     // index among the a·d dense products, j fastest
    Range columns;  // words of the batch
    Range outputs;  // rows k
  };

  const Rows rows_;
  const Shape& shape;
  const Tile& tile;
  const int64_t depth;
  const Batch batch_;  // in words

  static int vectors_of(Range columns) { return int(divide_up(columns.size(), kLanes)); }

 public:
  BatchLastProduct(const Plan& plan, const Rows& rows, const Batch& batch)
      : rows_(rows),
        shape(plan.shape),
        tile(plan.tile),
        depth(plan.depth),
        batch_{batch.size * Math::kUnit, batch.x_pitch * Math::kUnit, batch.y_pitch * Math::kUnit} {}

  bool run(const void* x, void* y, int threads) const {
    // Items are as wide as possible, for long runs of memory, while every thread has work.
    const int64_t vectors = divide_up(batch_.size, kLanes), products = shape.a * shape.d;
    const int64_t fitting = std::max<int64_t>(tile.vectors, kPackedWords / (depth * kLanes));
    const int64_t even = divide_up(kItemsOfThread * threads, products);
    const int64_t most_blocks = divide_up(vectors, tile.vectors);
    const int64_t blocks = std::min(most_blocks, std::max(divide_up(vectors, fitting), even));
    const int64_t whole = products * blocks, most = divide_up(shape.b, tile.rows);
    const int64_t parts = std::clamp<int64_t>(divide_up(2 * threads, whole), 1, most);
    // Neighbouring blocks share a cache line of Y unless their ends are multiples of a line.
    const Cut cut{blocks, parts, whole * parts, std::clamp<int64_t>(whole / (8 * threads), 1, 4)};
    const auto multiply_at = [&](int64_t index, int64_t next, float* room) {
      const Item item = item_at(index, cut);
      Ahead ahead{};
      if (next < cut.items)
        ahead = ahead_of(static_cast<const Element*>(x), item_at(next, cut), chunks_of(item));
      multiply_item(static_cast<const Element*>(x), static_cast<Element*>(y), item, ahead, room);
    };
    const int64_t words = depth * kLanes * divide_up(vectors, blocks);
    return for_each_item(cut, threads, words, multiply_at);
  }

 private:
  Item item_at(int64_t index, const Cut& cut) const {
    const auto [rest, part] = divide(index, cut.parts);
    const auto [ij, block] = divide(rest, cut.blocks);
    const Range vectors = share({0, divide_up(batch_.size, kLanes)}, block, cut.blocks);
    return {ij,
            {vectors.begin * kLanes, std::min(batch_.size, vectors.end * kLanes)},
            share({0, shape.b}, part, cut.parts)};
  }

  // Distances between rows of one (i, j).
  int64_t x_stride() const { return shape.d * batch_.x_pitch; }
  int64_t y_stride() const { return shape.d * batch_.y_pitch; }

  const Element* start_of(const Element* x, const Item& item) const {
    const int64_t i = item.ij / shape.d, j = item.ij % shape.d;
    return x + (i * shape.c * shape.d + j) * batch_.x_pitch + item.columns.begin;
  }

  Ahead ahead_of(const Element* x, const Item& item, int64_t chunks) const {
    const int64_t bytes = sizeof(Element), pieces = divide_up(item.columns.size() * bytes, 64);
    const int64_t skip = x_stride() * bytes - pieces * 64;
    return {reinterpret_cast<const char*>(start_of(x, item)), pieces, pieces, 64, skip,
            divide_up(shape.c * pieces, chunks)};
  }

  // Chunks of steps of all tiles of an item.
  int64_t chunks_of(const Item& item) const {
    const int64_t panels = divide_up(vectors_of(item.columns), tile.vectors);
    return divide_up(item.outputs.size(), tile.rows) * panels * divide_up(depth, kChunk);
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
    y += (i * shape.b * shape.d + j) * batch_.y_pitch;
    for (int64_t k = item.outputs.begin; k < item.outputs.end;) {
      const int taken = rows_taken(item.outputs.end - k, tile.rows, tile.vectors);
      const float* rows = rows_.first + item.ij * rows_.product_stride + k * rows_.row_stride;
      panels.each([&](Range columns, int vectors, int64_t before) {
        const int64_t valid = columns.size();
        const float* panel = room + depth * before;
        // narrower panels than the tile's have no kernel of six rows: those are four and two
        for (int row = 0, count; row < taken; row += count) {
          count = rows_taken(taken - row, tile.rows, vectors);
          run_tile<Element>(
              choose_kernel<Element>(count, vectors, Math::kUnit),
              {panel, rows + row * rows_.row_stride, rows_.row_stride, rows_.step_stride, depth, &ahead}, vectors,
              {y + (k + row) * y_stride() + columns.begin, count, y_stride(), valid, valid, valid});
        }
      });
      k += taken;
    }
  }

  // Packs X row by row, so that memory is read in long runs.
  static_assert(kTileVectors <= 4, "widen_vectors widens no more");
  void pack_columns(const Element* from, const Panels& panels, float* room) const {
    from -= panels.columns.begin;
    for (int64_t step = 0; step < depth; ++step, from += Math::kTerms * x_stride())
      panels.each([&](Range columns, int vectors, int64_t before) {
        const int64_t valid = columns.size(), width = vectors * kLanes;
        float* to = room + depth * before + step * width;
        if (Math::kTerms == 1 && valid == width) return widen_vectors(from + columns.begin, to, vectors);
        pack_row(from + columns.begin, step * Math::kTerms, valid, to);
        for (int64_t n = valid; n < width; ++n) to[n] = 0.0f;
      });
  }

  void pack_row(const Element* from, int64_t l, int64_t valid, float* to) const {
    if constexpr (Math::kTerms == 2)
      pair_runs(from, l + 1 < shape.c ? from + x_stride() : nullptr, valid, to);
    else
      widen_run(from, to, valid);
  }
};

template <class Element>
bool BatchLast<Element>::multiply(const float* packed, const void* x, void* y, const Batch& batch,
                                  int threads) const {
  const Rows rows{packed, row_stride_, Math::kUnit, shape.b * row_stride_};
  return BatchLastProduct<Element>(*this, rows, batch).run(x, y, threads);
}

template <class Element>
bool BatchLast<Element>::multiply_in_place(const void* weights, bool transposed, const void* x, void* y,
                                           const Batch& batch, int threads) const {
  const float* first = static_cast<const float*>(weights);
  constexpr int64_t kUnit = Math::kUnit;
  const int64_t product = shape.b * depth * kUnit;
  const Rows rows = transposed ? Rows{first, kUnit, shape.b * kUnit, product}
                               : Rows{first, depth * kUnit, kUnit, product};
  return BatchLastProduct<Element>(*this, rows, batch).run(x, y, threads);
}
