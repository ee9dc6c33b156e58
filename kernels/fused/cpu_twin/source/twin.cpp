// The fused Kronecker-sparse product on the CPU, behind a plain C interface.
//
// K is a·d independent dense products of b×c. Both layouts use one register tile: a panel of
// contiguous vectors times broadcast rows (twin_tile.hpp). No permutation of X or Y ever goes
// through memory: each is read and written once.

#include <new>

#include "twin_batch_first.hpp"
#include "twin_batch_last.hpp"

namespace {

enum Precision : int32_t { kFp32, kBf16, kFp16 };

template <class Kind, class Element>
Plan* open_as(const Shape& shape, const Tile& tile, const void* weights) {
  auto plan = std::make_unique<Kind>();
  return plan->prepare(shape, tile, static_cast<const Element*>(weights)) ? plan.release() : nullptr;
}

template <class Element>
Plan* open_layout(const Shape& shape, const Tile& tile, bool batch_last, const void* weights) {
  if (batch_last) return open_as<BatchLast<Element>, Element>(shape, tile, weights);
  return open_as<BatchFirst<Element>, Element>(shape, tile, weights);
}

}  // namespace

// The rest is built with hidden visibility: two builds of the twin in one process share nothing.
#define EXPORTED extern "C" __attribute__((visibility("default")))

// Lanes of a vector, rows and vectors of a full tile, the most j's that share a vector.
EXPORTED void kswatch_twin_tile(int32_t* sizes) {
  sizes[0] = kLanes;
  sizes[1] = kTileRows;
  sizes[2] = kTileVectors;
  sizes[3] = kLongestPeriod;
}

// A plan that owns its re-laid weights; null when memory is short.
EXPORTED void* kswatch_twin_open(const Shape* shape, const Tile* tile, int32_t precision, int32_t batch_last,
                                 const void* weights) try {
  switch (precision) {
    case kFp32: return open_layout<Fp32>(*shape, *tile, batch_last, weights);
    case kBf16: return open_layout<Bf16>(*shape, *tile, batch_last, weights);
    default: return open_layout<Fp16>(*shape, *tile, batch_last, weights);
  }
} catch (const std::bad_alloc&) {
  return nullptr;
}

// 1 when Y was written, 0 when memory was short.
EXPORTED int32_t kswatch_twin_multiply(const void* plan, const void* x, void* y, int32_t threads) {
  return static_cast<const Plan*>(plan)->multiply(x, y, threads);
}

EXPORTED void kswatch_twin_close(void* plan) { delete static_cast<Plan*>(plan); }
