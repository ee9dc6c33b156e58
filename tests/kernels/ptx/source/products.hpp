// Sums of products as the tensor cores form them.
#pragma once

#include <algorithm>

#include "formats.hpp"

namespace ptx {

/// Sum of c and n products, aligned to the greatest exponent and cut below the 24th bit, four products at a
/// time: a pessimistic model of what "mma" leaves open ("Floating point behaviour is unspecified beyond
/// ...").
inline float truncated_sum(const float* a, const float* b, int stride, int n, float c) {
  float sum = c;
  for (int k = 0; k < n; k += 4) {
    double terms[5] = {sum};
    for (int u = 0; u < 4; ++u) terms[u + 1] = double(a[k + u]) * b[(k + u) * stride];
    int top = -10000;
    for (const double term : terms) {
      int exponent = -10000;
      if (term != 0) std::frexp(term, &exponent);
      top = std::max(top, exponent);
    }
    double total = 0;
    for (const double term : terms) {
      total += top > -10000 ? std::ldexp(std::trunc(std::ldexp(term, 24 - top)), top - 24) : 0;
    }
    if (total == 0 || !std::isfinite(total)) {
      sum = float(total);
      continue;
    }
    int exponent;
    std::frexp(total, &exponent);
    sum = float(std::ldexp(std::trunc(std::ldexp(total, 24 - exponent)), exponent - 24));
  }
  return sum;
}

/// sums += a b for one row: in double precision (exact but for the sum's last bits) and rounded once, or
/// truncated.
template <int COLUMNS>
inline void multiply_row(const float* a, const float (*b)[COLUMNS], int k, int columns, bool truncating,
                         float* sums) {
  if (truncating) {
    for (int n = 0; n < columns; ++n) sums[n] = truncated_sum(a, &b[0][n], COLUMNS, k, sums[n]);
    return;
  }
  double exact[COLUMNS];
  for (int n = 0; n < columns; ++n) exact[n] = sums[n];
  for (int l = 0; l < k; ++l) {
    const double factor = a[l];
    for (int n = 0; n < columns; ++n) exact[n] += factor * b[l][n];
  }
  for (int n = 0; n < columns; ++n) sums[n] = float(exact[n]);
}

}  // namespace ptx
