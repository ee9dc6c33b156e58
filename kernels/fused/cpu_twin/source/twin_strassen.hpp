// The Strassen-Tile layer in one pass (arXiv 2503.12211): encodes rows of X, multiplies, decodes the sums.
//
// A vector runs along the channels of neighbouring columns of tiles, so the core product needs no
// permutation; encoded tiles and sums stay in the caches.
#pragma once

#include "twin_plan.hpp"

// Y (n, m) = X (n, k) in tiles of 4 x 4 with `kRank` channels; all matrices are dense and contiguous.
struct StrassenShape {
  int64_t rows, inputs, outputs;
};

constexpr int kSide = 4, kSquare = kSide * kSide;
constexpr int64_t kStrassenBlock = 64;  // tiles along l whose products are summed at once

inline Vector vector_at(const float* from) { return *reinterpret_cast<const Vector*>(from); }

template <int kRank>
struct Strassen {
  // Columns of tiles that fill whole vectors, and the vectors of their channels.
  static constexpr int kColumns = kRank % kLanes == 0 ? 1 : kRank * 2 % kLanes == 0 ? 2 : kLanes / 4;
  static constexpr int kVectors = kColumns * kRank / kLanes;
  static constexpr int kRowTiles = kLanes < 16 ? 4 : 6, kGroups = kLanes < 16 ? 3 : 4;
  static constexpr int kAtOnce = std::max(1, 12 / kVectors);  // tiles encoded at once: enough chains of sums
  static constexpr int kPanelColumns = kGroups * kColumns;
  static constexpr int kEncoded = kColumns * kRank;  // floats of an encoded tile: the channels, repeated
  static constexpr int kPanelFloats = kPanelColumns * kRank;

  StrassenShape shape;
  int64_t inner, panels;  // columns of tiles of X, panels of columns of tiles of Y

  explicit Strassen(const StrassenShape& sizes)
      : shape(sizes), inner(sizes.inputs / kSide),
        panels(divide_up(sizes.outputs / kSide, int64_t(kPanelColumns))) {}

  int64_t words() const { return panels * inner * kPanelFloats; }

  // Weights (m/4, k/4, r) to panels (panel, vector, k/4, group, lane); columns beyond the last are zero.
  void pack(const float* weights, float* packed) const {
    const int64_t columns = shape.outputs / kSide;
    for (int64_t panel = 0; panel < panels; ++panel)
      for (int v = 0; v < kVectors; ++v)
        for (int64_t l = 0; l < inner; ++l)
          for (int g = 0; g < kGroups; ++g)
            for (int lane = v * kLanes; lane < (v + 1) * kLanes; ++lane) {
              const int64_t j = panel * kPanelColumns + g * kColumns + lane / kRank;
              *packed++ = j < columns ? weights[(j * inner + l) * kRank + lane % kRank] : 0.0f;
            }
  }

  // A row of tiles of X, to (vector, k/4, lane); the encoder as (16, kEncoded), its channels repeated.
  void encode(const float* x, int valid_rows, const float* encoder, float* to) const {
    int64_t l = 0;
    for (; l + kAtOnce <= inner; l += kAtOnce)
      encode_tiles<kAtOnce>(x + l * kSide, valid_rows, encoder, to + l * kLanes);
    for (; l < inner; ++l) encode_tiles<1>(x + l * kSide, valid_rows, encoder, to + l * kLanes);
  }

  template <int kTiles>
  void encode_tiles(const float* x, int valid_rows, const float* encoder, float* to) const {
    Vector sums[kTiles][kVectors] = {};
    for (int row = 0; row < valid_rows; ++row, x += shape.inputs)
#pragma GCC unroll 4
      for (int column = 0; column < kSide; ++column, encoder += kEncoded)
#pragma GCC unroll 8
        for (int tile = 0; tile < kTiles; ++tile) {
          const Vector value = repeat<1>(x + tile * kSide + column);
#pragma GCC unroll 8
          for (int v = 0; v < kVectors; ++v) sums[tile][v] += value * vector_at(encoder + v * kLanes);
        }
#pragma GCC unroll 8
    for (int tile = 0; tile < kTiles; ++tile)
#pragma GCC unroll 8
      for (int v = 0; v < kVectors; ++v)
        *reinterpret_cast<Vector*>(to + (v * inner + tile) * kLanes) = sums[tile][v];
  }

  // The sums over l of a panel and all encoded rows of tiles, in `sums` (row of tiles, columns, r). One vector
  // of channels after the other, since each has operands of its own; a block of weights stays in the
  // first-level cache for all rows.
  void multiply(const float* encoded, int64_t row_tiles, const float* panel, float* sums) const {
    for (int v = 0; v < kVectors; ++v, encoded += inner * kLanes)
      for (int64_t l = 0; l < inner; l += kStrassenBlock, panel += kStrassenBlock * kGroups * kLanes) {
        const int64_t depth = std::min(kStrassenBlock, inner - l);
        for (int64_t i = 0; i < row_tiles; i += kRowTiles)
          multiply_block(encoded + i * inner * kEncoded + l * kLanes, panel, depth, l > 0,
                         sums + i * kPanelFloats + v * kLanes);
        if (depth < kStrassenBlock) panel -= (kStrassenBlock - depth) * kGroups * kLanes;
      }
  }

  void multiply_block(const float* encoded, const float* weights, int64_t depth, bool adds,
                      float* sums) const {
    Vector totals[kRowTiles][kGroups] = {};
    const int64_t stride = inner * kEncoded;
    for (int64_t l = 0; l < depth; ++l, encoded += kLanes, weights += kGroups * kLanes) {
      Vector columns[kGroups];
#pragma GCC unroll 8
      for (int g = 0; g < kGroups; ++g) columns[g] = vector_at(weights + g * kLanes);
#pragma GCC unroll 8
      for (int i = 0; i < kRowTiles; ++i) {
        const Vector value = vector_at(encoded + i * stride);
#pragma GCC unroll 8
        for (int g = 0; g < kGroups; ++g) totals[i][g] += columns[g] * value;
      }
    }
#pragma GCC unroll 8
    for (int i = 0; i < kRowTiles; ++i)
#pragma GCC unroll 8
      for (int g = 0; g < kGroups; ++g) {
        Vector* const to = reinterpret_cast<Vector*>(sums + i * kPanelFloats + g * kEncoded);
        *to = adds ? *to + totals[i][g] : totals[i][g];
      }
  }

  // A panel's columns of tiles of Y from their sums; the decoder as (r, 16).
  void decode(const float* sums, int columns, int valid_rows, const float* decoder, float* y) const {
    constexpr int kParts = kSquare / kLanes;  // vectors of a tile
    Vector values[kPanelColumns][kParts] = {};
    for (int s = 0; s < kRank; ++s, decoder += kSquare)
#pragma GCC unroll 16
      for (int column = 0; column < kPanelColumns; ++column)
#pragma GCC unroll 4
        for (int part = 0; part < kParts; ++part)
          values[column][part] += repeat<1>(sums + column * kRank + s) * vector_at(decoder + part * kLanes);
    alignas(64) float tiles[kPanelColumns][kSquare];
    std::memcpy(tiles, values, sizeof tiles);
    for (int row = 0; row < valid_rows; ++row, y += shape.outputs)
      for (int column = 0; column < columns; ++column)
        std::memcpy(y + column * kSide, tiles[column] + row * kSide, kSide * sizeof(float));
  }

  // Rows of tiles that are encoded at once: as many as stay in the second-level cache, fewer to occupy all
  // threads.
  int64_t rows_at_once(int threads) const {
    constexpr int64_t kFloats = 320 * 1024, kMost = 96;
    const int64_t fit = std::clamp(kFloats / (inner * kEncoded), int64_t(kRowTiles), kMost);
    return std::min(fit, divide_up(divide_up(shape.rows, int64_t(kSide)), int64_t(threads)));
  }

  // Encoder (r, 16) and decoder (16, r). False if there is not enough memory.
  bool run(const float* packed, const float* encoder, const float* decoder, const float* x, float* y,
           int threads) const {
    alignas(64) float encoding[kSquare * kEncoded], decoding[kRank * kSquare];
    for (int q = 0; q < kSquare; ++q)
      for (int s = 0; s < kEncoded; ++s) encoding[q * kEncoded + s] = encoder[s % kRank * kSquare + q];
    for (int s = 0; s < kRank; ++s)
      for (int q = 0; q < kSquare; ++q) decoding[s * kSquare + q] = decoder[q * kRank + s];
    const int64_t tiles = divide_up(shape.rows, int64_t(kSide)), block = rows_at_once(threads);
    const int64_t whole = divide_up(block, int64_t(kRowTiles)) * kRowTiles;
    const int64_t blocks = divide_up(tiles, block);
    return for_each_item({blocks, 1, blocks, 1}, threads, whole * (inner * kEncoded + kPanelFloats),
                         [&](int64_t item, int64_t, float* room) {
                           const int64_t first = item * block;
                           multiply_rows(first, std::min(block, tiles - first), whole, packed, encoding,
                                         decoding, x, y, room);
                         });
  }

  void multiply_rows(int64_t first, int64_t count, int64_t whole, const float* packed, const float* encoding,
                     const float* decoding, const float* x, float* y, float* encoded) const {
    float* const sums = encoded + whole * inner * kEncoded;
    const auto valid_rows = [&](int64_t i) { return int(std::min<int64_t>(kSide, shape.rows - i * kSide)); };
    std::fill(encoded + count * inner * kEncoded, sums, 0.0f);
    for (int64_t i = first; i < first + count; ++i)
      encode(x + i * kSide * shape.inputs, valid_rows(i), encoding, encoded + (i - first) * inner * kEncoded);
    for (int64_t panel = 0; panel < panels; ++panel, packed += inner * kPanelFloats) {
      multiply(encoded, divide_up(count, int64_t(kRowTiles)) * kRowTiles, packed, sums);
      const int64_t j = panel * kPanelColumns;
      const int columns = int(std::min<int64_t>(kPanelColumns, shape.outputs / kSide - j));
      for (int64_t i = first; i < first + count; ++i)
        decode(sums + (i - first) * kPanelFloats, columns, valid_rows(i), decoding,
               y + i * kSide * shape.outputs + j * kSide);
    }
  }
};

// Calls `use(layer)` with the layer of this number of channels; 0 if there is none.
template <class Use>
int64_t with_strassen(const StrassenShape& shape, int32_t rank, const Use& use) {
  switch (rank) {
    case 16: return use(Strassen<16>(shape));
    case 24: return use(Strassen<24>(shape));
    case 32: return use(Strassen<32>(shape));
    default: return 0;
  }
}
