// The second pass of a PARTED product: adds the parts' sums in a fixed order, scales, adds the bias, rounds.
#pragma once

#include "tile.cuh"

namespace ks {

/// Each thread computes one element of Y; `x` holds the parts, one Y of sums after the other.
template <class T>
KS_DEVICE void sum_parts(const Arguments& g) {
  using E = typename T::Precision::Output;
  const long long features = static_cast<long long>(g.a) * g.b * g.d;
  const long long elements = features * g.batch;
  const long long at = static_cast<long long>(block_index()) * KS_SUM_THREADS + thread_index();
  if (at >= elements) return;
  using Sum = typename T::Sum;
  const Sum* parts = static_cast<const Sum*>(g.x);
  Sum sum{};
  for (int part = 0; part < g.parts; ++part) sum += load_global<Sum>(parts + part * elements + at);
  [[maybe_unused]] const long long feature = T::LAYOUT == batch_last ? at / g.batch : at % features;
  if constexpr (T::Precision::SCALED) sum *= load_global<float>(row_scales<T>(g) + feature);
  if (g.bias != nullptr) {
    sum += to_sum(load_global<E>(static_cast<const E*>(g.bias) + feature));
  }
  E rounded;
  from_sum(sum, rounded);
  store_global(static_cast<E*>(g.y) + at, rounded);
}

}  // namespace ks
