// The fused Kronecker-sparse product on the CPU, behind a plain C interface.
//
// K consists of a·d independent dense products of b×c. Both layouts use the same register tile: a panel of
// contiguous vectors times broadcast rows (twin_tile.hpp). X and Y are never permuted in memory: X is read
// once and Y is written once.

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

// Everything else has hidden visibility, so two builds of the twin in one process share no symbols.
#define EXPORTED extern "C" __attribute__((visibility("default")))

// Lanes of a vector, rows and vectors of a full tile, maximum number of j's that share a vector.
EXPORTED void kswatch_twin_tile(int32_t* sizes) {
  sizes[0] = kLanes;
  sizes[1] = kTileRows;
  sizes[2] = kTileVectors;
  sizes[3] = kLongestPeriod;
}

// A plan that owns its re-laid weights; null if there is not enough memory.
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

// Returns 1 if Y was written, 0 if there was not enough memory.
EXPORTED int32_t kswatch_twin_multiply(const void* plan, const void* x, void* y, int32_t threads) {
  return static_cast<const Plan*>(plan)->multiply(x, y, threads);
}

EXPORTED void kswatch_twin_close(void* plan) { delete static_cast<Plan*>(plan); }
