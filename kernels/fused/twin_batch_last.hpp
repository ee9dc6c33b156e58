// Y = K X: vectors run over the batch, rows of the tile over k.
#pragma once

#include "twin_plan.hpp"
#include "twin_store.hpp"

template <class Element>
struct BatchLast final : Plan {
  using Math = typename MathOf<Element>::Type;

  bool prepare(const Shape& wanted, const Element* weights) {
    shape = wanted;
    depth = divide_up(shape.c, Math::kTerms);
    packed_per_i = shape.b * shape.d * depth;
    packed = allocate_words(shape.a * packed_per_i);
    if (!packed) return false;
    for (int64_t i = 0; i < shape.a; ++i) pack_weights(weights, i);
    append_panels({0, 1}, divide_up(shape.batch, kLanes), depth, panels);
    return true;
  }

  // (a, b, c, d) becomes (a, d, b, depth).
  void pack_weights(const Element* weights, int64_t i) {
    float* to = packed.get() + i * packed_per_i;
    for (int64_t j = 0; j < shape.d; ++j)
      for (int64_t k = 0; k < shape.b; ++k)
        for (int64_t l = 0; l < shape.c; l += Math::kTerms)
          *to++ = word_at<Math>(weights + ((i * shape.b + k) * shape.c + l) * shape.d + j, shape.d, l, shape.c);
  }

  bool multiply(const void* x, void* y, int threads) const override {
    const int64_t count = int64_t(panels.size());
    const int64_t fitting = std::clamp<int64_t>(49152 / (depth * kTileWidth), 1, 4);
    const int64_t blocks = divide_up(count, fitting);
    const int64_t whole = shape.a * shape.d * blocks;
    const int64_t parts = std::clamp<int64_t>(divide_up(2 * threads, whole), 1, divide_up(shape.b, kTileRows));
    bool enough_memory = true;
#pragma omp parallel num_threads(threads)
    {
      const Words columns = allocate_words(fitting * depth * kTileWidth);
      if (!columns) {
#pragma omp atomic write
        enough_memory = false;
      }
#pragma omp for schedule(dynamic, 1)
      for (int64_t item = 0; item < whole * parts; ++item) {
        if (!columns) continue;
        const int64_t part = item % parts;
        const int64_t block = item / parts % blocks;
        const Range span{block * count / blocks, (block + 1) * count / blocks};
        const Range outputs{part * shape.b / parts, (part + 1) * shape.b / parts};
        multiply_block(static_cast<const Element*>(x), static_cast<Element*>(y), item / parts / blocks, span, outputs,
                       columns.get());
      }
    }
    return enough_memory;
  }

  // `ij` counts the a·d dense products, j fastest.
  void multiply_block(const Element* x, Element* y, int64_t ij, Range span, Range outputs, float* columns) const {
    const int64_t i = ij / shape.d, j = ij % shape.d;
    x += (i * shape.c * shape.d + j) * shape.batch;
    y += (i * shape.b * shape.d + j) * shape.batch;
    const float* weights = packed.get() + ij * shape.b * depth;
    for (int64_t index = span.begin; index < span.end; ++index) {
      const Panel& panel = panels[size_t(index)];
      pack_columns(x, panel, columns);
      multiply_panel(y, weights, panel, outputs, columns);
    }
  }

  int64_t valid_columns(const Panel& panel) const {
    return std::min<int64_t>(panel.vectors * kLanes, shape.batch - panel.first_vector * kLanes);
  }

  void pack_columns(const Element* x, const Panel& panel, float* columns) const {
    const int64_t valid = valid_columns(panel);
    const int64_t stride = shape.d * shape.batch;
    const Element* from = x + panel.first_vector * kLanes;
    for (int64_t l = 0; l < shape.c; l += Math::kTerms, from += Math::kTerms * stride) {
      for (int64_t n = 0; n < valid; ++n) columns[n] = word_at<Math>(from + n, stride, l, shape.c);
      for (int64_t n = valid; n < panel.vectors * kLanes; ++n) columns[n] = 0.0f;
      columns += panel.vectors * kLanes;
    }
  }

  void multiply_panel(Element* y, const float* weights, const Panel& panel, Range outputs, const float* columns) const {
    const int64_t stride = shape.d * shape.batch;
    const int64_t valid = valid_columns(panel);
    y += panel.first_vector * kLanes;
    for (int64_t k = outputs.begin; k < outputs.end;) {
      const int taken = rows_taken(outputs.end - k);
      const TileOperands tile{columns, weights + k * depth, depth, depth};
      const Target<Element> target{y + k * stride, stride, kLanes, valid == panel.vectors * kLanes};
      run_tile(choose_kernel<Math>(taken, panel.vectors, 1), tile, target, {taken, valid, valid, valid});
      k += taken;
    }
  }
};
