// Two products in one pass over tiles of the batch: the intermediate stays in the second-level cache.
#pragma once

#include "twin_element.hpp"
#include "twin_plan.hpp"

// A product with its packed weights.
struct PackedFactor {
  const Plan* plan;
  const float* packed;

  bool multiply(const void* x, void* y, const Batch& batch, int threads) const {
    return plan->multiply(packed, x, y, batch, threads);
  }
};

// The right-most factor comes first. A tile is a number of entries of the batch.
struct ChainPlan {
  PackedFactor first, second;
  int32_t precision, batch_last;
  int64_t tile;
};

// The words of an intermediate that a thread keeps for the next call.
constexpr int64_t kKeptWords = 1024 * 1024;

// The calling thread's intermediate.
inline Room& intermediate_of_thread() {
  static thread_local Room room;
  return room;
}

// Y = K2 K1 X + bias, rounded where two products and an addition would be.
template <class Element>
struct ChainPass {
  const ChainPlan& chain;
  const void* bias;
  const int64_t batch;

  // False if there is not enough memory.
  bool run(const void* x, void* y, int threads) const {
    const int64_t tiles = divide_up(batch, chain.tile);
    if (tiles < threads) return run_tile({0, batch}, x, y, threads);  // both products occupy all threads
    bool enough_memory = true;
#pragma omp parallel for schedule(dynamic) num_threads(threads) if (threads > 1)
    for (int64_t index = 0; index < tiles; ++index) {
      if (run_tile({index * chain.tile, std::min(batch, (index + 1) * chain.tile)}, x, y, 1)) continue;
#pragma omp atomic write
      enough_memory = false;
    }
    return enough_memory;
  }

 private:
  bool run_tile(Range entries, const void* x, void* y, int threads) const {
    const Shape &first = chain.first.plan->shape, &second = chain.second.plan->shape;
    const int64_t count = entries.size(), bytes = int64_t(sizeof(Element));
    const int64_t words = divide_up(first.rows() * count * bytes, 4);
    const Words own = words > kKeptWords ? allocate_words(words) : Words();
    float* const between = words > kKeptWords ? own.get() : intermediate_of_thread().of(words);
    if (!between) return false;
    const Element* from = static_cast<const Element*>(x) + start(entries, first.columns());
    Element* to = static_cast<Element*>(y) + start(entries, second.rows());
    if (!chain.first.multiply(from, between, {count, batch, count}, threads) ||
        !chain.second.multiply(between, to, {count, count, batch}, threads))
      return false;
    if (bias) add_bias(to, count, second.rows());
    return true;
  }

  int64_t start(Range entries, int64_t features) const {
    return chain.batch_last ? entries.begin : entries.begin * features;
  }

  // Added to the rounded results, as torch adds it.
  void add_bias(Element* y, int64_t count, int64_t features) const {
    const Element* added = static_cast<const Element*>(bias);
    if (chain.batch_last)
      for (int64_t feature = 0; feature < features; ++feature, y += batch) {
        const float value = Element::widen(added[feature]);
        add(y, count, [&](int64_t) { return Vector{} + value; }, [&](int64_t) { return value; });
      }
    else
      for (int64_t n = 0; n < count; ++n, y += features)
        add(y, features, [&](int64_t at) { return load(added + at); },
            [&](int64_t at) { return Element::widen(added[at]); });
  }

  template <class Many, class One>
  static void add(Element* y, int64_t count, const Many& many, const One& one) {
    int64_t at = 0;
    for (; at + kLanes <= count; at += kLanes) store(load(y + at) + many(at), y + at);
    for (; at < count; ++at) y[at] = Element::narrow(Element::widen(y[at]) + one(at));
  }
};
