// The fused Kronecker-sparse product on the CPU, behind a plain C interface.
//
// K consists of a·d independent dense products of b×c. Both layouts use the same register tile: a panel of
// contiguous vectors times broadcast rows (twin_tile.hpp). X and Y are never permuted in memory: X is read
// once and Y is written once.

#include <new>

#include "twin_batch_first.hpp"
#include "twin_batch_last.hpp"
#include "twin_chain.hpp"
#include "twin_speed.hpp"
#include "twin_strassen.hpp"
#include "twin_widen.hpp"

namespace {

enum Precision : int32_t { kFp32, kBf16, kFp16, kFp64, kComplex64 };

template <class Element>
Plan* open_layout(Shape shape, Tile tile, bool batch_last) {
  if (batch_last) return new BatchLast<Element>(shape, tile);
  shape.d *= MathOf<Element>::Type::kUnit;
  tile.period *= MathOf<Element>::Type::kUnit;
  return new BatchFirst<Element>(shape, tile);
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

// The speed of a tile in products of vectors per nanosecond, measured; 0 if there is not enough memory.
EXPORTED double kswatch_twin_speed(int32_t precision, int32_t rows, int32_t vectors, int32_t period) {
  switch (precision) {
    case kFp32: return speed_of_tile<Fp32>(rows, vectors, period);
    case kBf16: return speed_of_tile<Bf16>(rows, vectors, period);
    case kFp64: return speed_of_tile<Fp64>(rows, vectors, period);
    case kComplex64: return speed_of_tile<Complex64>(rows, vectors, period);
    default: return speed_of_tile<Fp16>(rows, vectors, period);
  }
}

// Multiplies and adds in the registers of each thread; returns the number of operations.
EXPORTED double kswatch_twin_peak(int64_t steps, int32_t threads) {
  return multiply_in_registers(steps, threads);
}

// Numbers of eight bits, e4m3 or e5m2, as bf16.
EXPORTED void kswatch_twin_widen(const uint8_t* from, uint16_t* to, int64_t count, int32_t format,
                                 int32_t threads) {
  (format == kE4m3 ? widen<kE4m3> : widen<kE5m2>)(from, to, count, threads);
}

// A plan for any batch; null if there is not enough memory.
EXPORTED void* kswatch_twin_open(const Shape* shape, const Tile* tile, int32_t precision,
                                 int32_t batch_last) try {
  switch (precision) {
    case kFp32: return open_layout<Fp32>(*shape, *tile, batch_last);
    case kBf16: return open_layout<Bf16>(*shape, *tile, batch_last);
    case kFp64: return open_layout<Fp64>(*shape, *tile, batch_last);
    case kComplex64: return open_layout<Complex64>(*shape, *tile, batch_last);
    default: return open_layout<Fp16>(*shape, *tile, batch_last);
  }
} catch (const std::bad_alloc&) {
  return nullptr;
}

// Floats of the packed weights.
EXPORTED int64_t kswatch_twin_words(const void* plan) { return static_cast<const Plan*>(plan)->words; }

// Packs contiguous weights of shape (a, b, c, d), or (a, c, b, d) of the product with Kᵀ, for the plan.
// Returns 1, or 0 if there was not enough memory.
EXPORTED int32_t kswatch_twin_pack(const void* plan, const void* weights, int32_t transposed, float* packed,
                                   int32_t threads) {
  return static_cast<const Plan*>(plan)->pack(weights, transposed, packed, threads);
}

// Returns 1 if Y was written, 0 if there was not enough memory.
EXPORTED int32_t kswatch_twin_multiply(const void* plan, const float* packed, const void* x, void* y,
                                       int64_t batch, int32_t threads) {
  return static_cast<const Plan*>(plan)->multiply(packed, x, y, Batch::whole(batch), threads);
}

// The product with weights as they lie, packed for this call where tiles cannot read them there; the calling
// thread keeps the memory for them. Returns 1 if Y was written, 0 if there was not enough memory.
EXPORTED int32_t kswatch_twin_multiply_weights(const void* plan, const void* weights, int32_t transposed,
                                               const void* x, void* y, int64_t batch, int32_t threads) {
  const Plan& chosen = *static_cast<const Plan*>(plan);
  const Batch whole = Batch::whole(batch);
  if (chosen.reads_in_place(weights, transposed))
    return chosen.multiply_in_place(weights, transposed, x, y, whole, threads);
  float* packed = weights_of_thread().of(chosen.words);
  return packed && chosen.pack(weights, transposed, packed, threads) &&
         chosen.multiply(packed, x, y, whole, threads);
}

// Two products in one pass over tiles of the batch, plus a bias of one element for each feature, or null.
// Returns 1 if Y was written, 0 if there was not enough memory.
EXPORTED int32_t kswatch_twin_multiply_chain(const ChainPlan* chain, const void* bias, const void* x, void* y,
                                             int64_t batch, int32_t threads) {
  switch (chain->precision) {
    case kFp32: return ChainPass<Fp32>{*chain, bias, batch}.run(x, y, threads);
    case kBf16: return ChainPass<Bf16>{*chain, bias, batch}.run(x, y, threads);
    default: return ChainPass<Fp16>{*chain, bias, batch}.run(x, y, threads);
  }
}

EXPORTED void kswatch_twin_close(void* plan) { delete static_cast<Plan*>(plan); }

// Floats of the packed weights of a Strassen-Tile layer of 4 x 4 tiles; 0 for a rank that is not compiled.
EXPORTED int64_t kswatch_twin_strassen_words(const StrassenShape* shape, int32_t rank) {
  return with_strassen(*shape, rank, [](const auto& layer) { return layer.words(); });
}

// Packs contiguous weights of shape (m/4, k/4, r); returns 1, or 0 for a rank that is not compiled.
EXPORTED int32_t kswatch_twin_strassen_pack(const StrassenShape* shape, int32_t rank, const float* weights,
                                            float* packed) {
  return int32_t(with_strassen(*shape, rank, [&](const auto& layer) {
    layer.pack(weights, packed);
    return 1;
  }));
}

// Returns 1 if Y was written; 0 if there was not enough memory, or for a rank that is not compiled.
EXPORTED int32_t kswatch_twin_strassen(const StrassenShape* shape, int32_t rank, const float* packed,
                                       const float* encoder, const float* decoder, const float* x, float* y,
                                       int32_t threads) {
  return int32_t(with_strassen(*shape, rank, [&](const auto& layer) {
    return layer.run(packed, encoder, decoder, x, y, threads);
  }));
}
