// "Warp Level Matrix Instructions": ldmatrix, stmatrix and mma.
#include "decoder.hpp"
#include "memory.hpp"
#include "products.hpp"

namespace ptx {
namespace {

// "ldmatrix": lane 8q + r has the address of row r of matrix q; lane L gets elements 2 (L % 4), + 1 of row L
// / 4, or of column L / 4 if transposed.
void load_matrices(Warp& w, const Instruction& i, u32) {
  Block& b = *w.block;
  u16 rows[LANES][8];
  for (int lane = 0; lane < 8 * i.count; ++lane) {
    const u32 address = shared_address(w, i.operands[1][0], lane, i.offset[0]);
    memset(rows[lane], 0xff, 16);
    if (!check_bounds(b, w.thread(lane), address, 16, 16, "ldmatrix")) continue;
    note_read(w, lane, b, address, 16);
    memcpy(rows[lane], b.bytes(address), 16);
  }
  for (int matrix = 0; matrix < i.count; ++matrix) {
    u32* to = w.at<u32>(i.operands[0][matrix].slot);
    const u16(*of)[8] = rows + 8 * matrix;
    for (int lane = 0; lane < LANES; ++lane) {
      const int outer = lane / 4, inner = lane % 4 * 2;
      to[lane] = i.flag ? of[inner][outer] | u32(of[inner + 1][outer]) << 16
                        : of[outer][inner] | u32(of[outer][inner + 1]) << 16;
    }
  }
}

// "stmatrix": the reverse.
void store_matrices(Warp& w, const Instruction& i, u32) {
  Block& b = *w.block;
  for (int matrix = 0; matrix < i.count; ++matrix) {
    const u32* from = w.at<u32>(i.operands[1][matrix].slot);
    u16 rows[8][8];
    for (int lane = 0; lane < LANES; ++lane) {
      const int outer = lane / 4, inner = lane % 4 * 2;
      (i.flag ? rows[inner][outer] : rows[outer][inner]) = u16(from[lane]);
      (i.flag ? rows[inner + 1][outer] : rows[outer][inner + 1]) = u16(from[lane] >> 16);
    }
    for (int row = 0; row < 8; ++row) {
      const int lane = 8 * matrix + row;
      const u32 address = shared_address(w, i.operands[0][0], lane, i.offset[0]);
      if (!check_bounds(b, w.thread(lane), address, 16, 16, "stmatrix")) continue;
      note_write(w, lane, b, address, 16);
      memcpy(b.bytes(address), rows[row], 16);
    }
  }
}

/// Calls `put(g, position, value)` for all elements of a register, where position counts from t = 0.
template <Format F, class Put>
void unpack(const u32* words, Put put) {
  constexpr int BITS = 8 * int(bytes_of(F)), COUNT = 32 / BITS;
  for (int lane = 0; lane < LANES; ++lane) {
    for (int e = 0; e < COUNT; ++e) {
      const u32 bits = BITS == 32 ? words[lane] : words[lane] >> BITS % 32 * e & ((1u << BITS % 32) - 1);
      put(lane / 4, lane % 4 * COUNT + e, operand_to_float(F, bits));
    }
  }
}

// "Matrix Fragments for mma.m16n8k4 ... m16n8k32": counted in 32-bit words, with g = lane / 4 and t = lane %
// 4, word u of A holds row g + 8 (u % 2) and word column t + 4 (u / 2); word u of B row t + 4u and column g;
// sum u row g + 8 (u / 2) and column 2t + u % 2. A word holds 1, 2 or 4 columns.
template <Format A, Format B>
void multiply_fragments(Warp& w, const Instruction& i, u32) {
  float a[16][32], b[32][8], sums[16][8];
  for (int u = 0; u < int(i.operands[1].size()); ++u) {
    unpack<A>(w.at<u32>(i.operands[1][u].slot), [&](int g, int column, float value) {
      a[g + 8 * (u % 2)][column + u / 2 * (16 / int(bytes_of(A)))] = value;
    });
  }
  for (int u = 0; u < int(i.operands[2].size()); ++u) {
    unpack<B>(w.at<u32>(i.operands[2][u].slot),
              [&](int g, int row, float value) { b[row + u * (16 / int(bytes_of(B)))][g] = value; });
  }
  for (int u = 0; u < 4; ++u) {
    const float* from = w.at<float>(i.operands[3][u].slot);
    for (int lane = 0; lane < LANES; ++lane)
      sums[lane / 4 + 8 * (u / 2)][2 * (lane % 4) + u % 2] = from[lane];
  }
  const bool truncating = w.block->run.options.truncating;
  for (int row = 0; row < 16; ++row) multiply_row<8>(a[row], b, i.k, 8, truncating, sums[row]);
  for (int lane = 0; lane < LANES; ++lane) {
    for (int u = 0; u < 4; ++u) {
      w.at<float>(i.operands[0][u].slot)[lane] = sums[lane / 4 + 8 * (u / 2)][2 * (lane % 4) + u % 2];
    }
  }
}

void decode_matrices(Decoder& d) {
  Instruction& it = d.instruction;
  const bool loads = d.name == "ldmatrix";
  for (const char* word : {"sync", "aligned", "m8n8"}) d.require(word);
  it.count = d.take("x4") ? 4 : d.take("x2") ? 2 : 1;
  if (it.count == 1) d.require("x1");
  it.flag = d.take("trans");
  if (!d.take("shared")) d.require("shared::cta");
  d.require("b16");
  d.finish(2);
  if (loads) d.vector(0, 32, size_t(it.count));
  d.address(loads ? 1 : 0, 32, it.offset[0]);
  if (!loads) d.vector(1, 32, size_t(it.count));
  it.handler = loads ? load_matrices : store_matrices;
}

Handler find_product(Format a, Format b) {
  switch (a) {
    case Format::f16:
      return multiply_fragments<Format::f16, Format::f16>;
    case Format::bf16:
      return multiply_fragments<Format::bf16, Format::bf16>;
    case Format::tf32:
      return multiply_fragments<Format::tf32, Format::tf32>;
    case Format::e4m3:
      return b == Format::e4m3 ? multiply_fragments<Format::e4m3, Format::e4m3>
                               : multiply_fragments<Format::e4m3, Format::e5m2>;
    default:
      return b == Format::e4m3 ? multiply_fragments<Format::e5m2, Format::e4m3>
                               : multiply_fragments<Format::e5m2, Format::e5m2>;
  }
}

void decode_mma(Decoder& d) {
  Instruction& it = d.instruction;
  for (const char* word : {"sync", "aligned"}) d.require(word);
  const std::string shape = d.take_next();
  for (const char* word : {"row", "col", "f32"}) d.require(word);
  if (!find_format(d.take_next(), it.format[0]) || !find_format(d.take_next(), it.format[1])) d.unknown();
  d.require("f32");
  const u32 bytes = bytes_of(it.format[0]);
  const bool mixed = it.format[0] != it.format[1];
  if (mixed && (bytes != 1 || bytes_of(it.format[1]) != 1)) d.unknown();
  it.k = shape.rfind("m16n8k", 0) == 0 ? type_bits(shape.substr(6)) : 0;
  const int words = it.k * int(bytes) / 4;  // of a row of A
  if (words != 8 && !(words == 4 && bytes > 1)) d.unknown();
  d.finish(4);
  d.vector(0, 32, 4);
  d.vector(1, 32, size_t(words / 2));
  d.vector(2, 32, size_t(words / 4));
  d.vector(3, 32, 4);
  it.handler = find_product(it.format[0], it.format[1]);
}

}  // namespace

bool decode_tensor_cores(Decoder& d) {
  if (d.name == "ldmatrix" || d.name == "stmatrix") {
    decode_matrices(d);
  } else if (d.name == "mma") {
    decode_mma(d);
  } else {
    return false;
  }
  d.instruction.flow = Flow::collective;
  return true;
}

}  // namespace ptx
