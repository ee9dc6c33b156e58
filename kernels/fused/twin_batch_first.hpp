// Y = X Kᵀ: vectors run over (k, j), rows of the tile over the batch.
#pragma once

#include "twin_plan.hpp"
#include "twin_store.hpp"

template <class Element>
struct BatchFirst final : Plan {
  using Math = typename MathOf<Element>::Type;

  bool prepare(const Shape& wanted, const Element* weights) {
    shape = wanted;
    depth = divide_up(shape.c, Math::kTerms);
    for (const Group& group : groups_of(shape.d))
      append_panels(group, divide_up(shape.b * group.period, kLanes), depth, panels);
    packed_per_i = panels.back().offset + panels.back().vectors * depth * kLanes;
    packed = allocate_words(shape.a * packed_per_i);
    if (!packed) return false;
    for (int64_t i = 0; i < shape.a; ++i)
      for (const Panel& panel : panels) pack_weights(weights, i, panel);
    return true;
  }

  void pack_weights(const Element* weights, int64_t i, const Panel& panel) {
    float* to = packed.get() + i * packed_per_i + panel.offset;
    const int width = panel.vectors * kLanes;
    for (int64_t step = 0; step < depth; ++step)
      for (int lane = 0; lane < width; ++lane) {
        const int64_t feature = panel.first_vector * kLanes + lane;
        const int64_t k = feature / panel.group.period;
        const int64_t j = panel.group.first_j + feature % panel.group.period;
        const int64_t l = step * Math::kTerms;
        const Element* from = weights + ((i * shape.b + k) * shape.c + l) * shape.d + j;
        *to++ = k < shape.b ? word_at<Math>(from, shape.d, l, shape.c) : 0.0f;
      }
  }

  int64_t block_rows() const {
    const int64_t fitting = 32768 / (shape.c * std::min<int64_t>(shape.d, kLanes));
    return std::clamp<int64_t>(fitting / kTileRows * kTileRows, kTileRows, 64);
  }

  int64_t row_stride(int period) const { return divide_up(depth * period, kLanes) * kLanes + kLanes; }

  bool multiply(const void* x, void* y, int threads) const override {
    const int64_t block = std::min(block_rows(), shape.batch);
    const int64_t blocks = divide_up(shape.batch, block);
    const int64_t whole = shape.a * blocks;
    const int64_t parts = std::clamp<int64_t>(divide_up(2 * threads, whole), 1, int64_t(panels.size()));
    const int widest = int(std::min<int64_t>(shape.d, kLanes));
    bool enough_memory = true;
#pragma omp parallel num_threads(threads)
    {
      const Words rows = allocate_words(block * row_stride(widest));
      if (!rows) {
#pragma omp atomic write
        enough_memory = false;
      }
#pragma omp for schedule(dynamic, 1)
      for (int64_t item = 0; item < whole * parts; ++item) {
        if (!rows) continue;
        const int64_t part = item % parts;
        const Range batch{item / parts % blocks * block, std::min(shape.batch, (item / parts % blocks + 1) * block)};
        const Range span{part * int64_t(panels.size()) / parts, (part + 1) * int64_t(panels.size()) / parts};
        multiply_block(static_cast<const Element*>(x), static_cast<Element*>(y), item / parts / blocks, batch, span,
                       rows.get());
      }
    }
    return enough_memory;
  }

  void multiply_block(const Element* x, Element* y, int64_t i, Range batch, Range span, float* rows) const {
    for (int64_t index = span.begin; index < span.end; ++index) {
      const Panel& panel = panels[size_t(index)];
      const bool new_group = index == span.begin || panels[size_t(index - 1)].group.first_j != panel.group.first_j;
      if (new_group) pack_rows(x + i * shape.c * shape.d + panel.group.first_j, batch, panel.group.period, rows);
      multiply_panel(y + i * shape.b * shape.d, i, panel, batch, rows);
    }
  }

  void pack_rows(const Element* x, Range batch, int period, float* rows) const {
    for (int64_t n = batch.begin; n < batch.end; ++n, rows += row_stride(period)) {
      const Element* from = x + n * shape.columns();
      if (Math::kTerms == 1 && period == shape.d) {
        for (int64_t feature = 0; feature < shape.c * shape.d; ++feature) rows[feature] = Element::widen(from[feature]);
        continue;
      }
      switch (period) {
        case 1: pack_row<1>(from, rows); break;
        case 2: pack_row<2>(from, rows); break;
        case 4: pack_row<4>(from, rows); break;
        case 8: pack_row<8>(from, rows); break;
        default: pack_row<kLanes>(from, rows);
      }
    }
  }

  template <int kPeriod>
  void pack_row(const Element* from, float* to) const {
    const int64_t whole = shape.c / Math::kTerms;
    for (int64_t step = 0; step < whole; ++step, to += kPeriod, from += Math::kTerms * shape.d)
      for (int j = 0; j < kPeriod; ++j) to[j] = Math::word(from[j], from[(Math::kTerms - 1) * shape.d + j]);
    if (whole < depth)
      for (int j = 0; j < kPeriod; ++j) to[j] = Math::word(from[j], Element{});
  }

  void multiply_panel(Element* y, int64_t i, const Panel& panel, Range batch, const float* rows) const {
    const int period = panel.group.period;
    const int64_t first_k = panel.first_vector * kLanes / period;
    const int64_t valid = std::min<int64_t>(panel.vectors * kLanes, (shape.b - first_k) * period);
    const int64_t vector_stride = kLanes / period * shape.d;
    const bool whole_vectors = valid == panel.vectors * kLanes && (period == shape.d || period == kLanes);
    y += first_k * shape.d + panel.group.first_j;
    for (int64_t n = batch.begin; n < batch.end;) {
      const int taken = rows_taken(batch.end - n);
      const TileOperands tile{packed.get() + i * packed_per_i + panel.offset,
                              rows + (n - batch.begin) * row_stride(period), row_stride(period), depth};
      const Target<Element> target{y + n * shape.rows(), shape.rows(), vector_stride, whole_vectors};
      const Runs runs{taken, valid, period == shape.d ? valid : period, shape.d};
      run_tile(choose_kernel<Math>(taken, panel.vectors, period), tile, target, runs);
      n += taken;
    }
  }
};
