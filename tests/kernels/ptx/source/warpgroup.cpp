// "Asynchronous Warpgroup Level Matrix Multiply-Accumulate Instructions": wgmma. Each of the four warps of a
// warpgroup computes its 16 rows; it happens at the wait, and memory and registers are watched until then.
#include "warpgroup.hpp"

#include <algorithm>
#include <cstdio>

#include "decoder.hpp"
#include "memory.hpp"
#include "products.hpp"

namespace ptx {
namespace {

using ull = unsigned long long;

// ---- operands in shared memory ---------------------------------------------------------------

/// "Matrix Descriptor": addresses and distances in units of 16 bytes.
struct Descriptor {
  u32 start, leading, stride;
  u32 span;  // bytes of the swizzle: 0, 128, 64 or 32

  explicit Descriptor(u64 bits)
      : start(u32(bits & 0x3fff) << 4),
        leading(u32(bits >> 16 & 0x3fff) << 4),
        stride(u32(bits >> 32 & 0x3fff) << 4) {
    static constexpr u32 spans[] = {0, 128, 64, 32};
    span = spans[bits >> 62];
  }

  /// "Shared Memory Matrix Layout", "Strides": the address of the byte at a row (of M or N) and byte along K;
  /// with `mn_major` of element (mn, k), where rows along M or N are contiguous.
  u32 k_major(u32 mn, u32 k_byte) const {
    if (span) return swizzled(start + mn / 8 * stride + mn % 8 * span + k_byte, span);
    return start + mn / 8 * stride + k_byte / 16 * leading + mn % 8 * 16 + k_byte % 16;
  }
  u32 mn_major(u32 mn, u32 k, u32 element_bytes) const {
    const u32 width = span / element_bytes;
    return swizzled(start + mn / width * leading + mn % width * element_bytes + k / 8 * stride + k % 8 * span,
                    span);
  }
};

struct OperandInMemory {
  Descriptor descriptor;
  bool mn_major;
  u32 first, rows;  // of M or N
  u32 k;
  Format format;

  u32 bytes() const { return bytes_of(format); }
  u32 address(u32 row, u32 l) const {
    return mn_major ? descriptor.mn_major(row, l, bytes()) : descriptor.k_major(row, l * bytes());
  }
  /// Calls `body(address, row, l)` for each 16 bytes, with their first element.
  template <class Body>
  void for_units(Body body) const {
    const u32 elements = 16 / bytes();
    for (u32 row = first; row < first + rows; row += mn_major ? elements : 1) {
      for (u32 l = 0; l < k; l += mn_major ? 1 : elements) body(address(row, l), row, l);
    }
  }
};

OperandInMemory operand_a(const Warp& w, const Instruction& i, u64 descriptor) {
  return {Descriptor(descriptor), i.transposed[0], u32(w.index % 4 * 16), 16, u32(i.k), i.format[0]};
}
OperandInMemory operand_b(const Instruction& i, u64 descriptor) {
  return {Descriptor(descriptor), i.transposed[1], 0, u32(i.n), u32(i.k), i.format[1]};
}

bool in_bounds(const Block& b, u32 address) { return address >= SHARED_BASE && address + 16 <= b.shared_top; }

template <Format F, class Put>
void read_as(const Block& b, const OperandInMemory& operand, Put put) {
  using Bits = std::conditional_t<bytes_of(F) == 4, u32, std::conditional_t<bytes_of(F) == 2, u16, u8>>;
  operand.for_units([&](u32 address, u32 row, u32 l) {
    Bits unit[16 / sizeof(Bits)];
    memset(unit, 0xff, sizeof unit);
    if (in_bounds(b, address)) memcpy(unit, &b.shared[address - SHARED_BASE], sizeof unit);
    for (u32 e = 0; e < 16 / sizeof(Bits); ++e) {
      const float value = operand_to_float(F, unit[e]);
      operand.mn_major ? put(row + e, l, value) : put(row, l + e, value);
    }
  });
}

/// Calls `put(row, l, value)` for all elements; those out of bounds are NaN.
template <class Put>
void read_elements(const Block& b, const OperandInMemory& operand, Put put) {
  switch (operand.format) {
    case Format::f16:
      return read_as<Format::f16>(b, operand, put);
    case Format::bf16:
      return read_as<Format::bf16>(b, operand, put);
    case Format::tf32:
      return read_as<Format::tf32>(b, operand, put);
    case Format::e4m3:
      return read_as<Format::e4m3>(b, operand, put);
    default:
      return read_as<Format::e5m2>(b, operand, put);
  }
}

// ---- wgmma.mma_async -------------------------------------------------------------------------

void check_descriptor(Warp& w, u64 bits, bool mn_major) {
  const auto report = [&](const char* problem) { w.block->fault(problem, w.thread(0), "%#llx", ull(bits)); };
  if (bits >> 49 & 7) report("wgmma descriptor with a base offset");
  if ((bits >> 14 & 3) || (bits >> 30 & 3) || (bits >> 46 & 7) || (bits >> 52 & 0x3ff)) {
    report("wgmma descriptor with reserved bits");
  }
  if (mn_major && bits >> 62 == 0) report("wgmma descriptor without a swizzle along M or N");
}

u64 uniform_value(Warp& w, const Operand& operand) {
  const u64* values = w.at<u64>(operand.slot);
  for (int lane = 1; lane < LANES; ++lane) {
    if (values[lane] == values[0]) continue;
    w.block->fault("wgmma descriptors differ in a warp", w.thread(lane), " ");
    break;
  }
  return values[0];
}

bool a_in_registers(const Instruction& i) { return i.operands[1].size() > 1; }

void hold(Warp& w, const Instruction& i) {
  for (int n = 0; n <= int(a_in_registers(i)); ++n) {
    for (const Operand& operand : i.operands[n]) w.held[operand.slot / 128] = 1;
  }
}

void start_product(Warp& w, const Instruction& i, u32) {
  Block& b = *w.block;
  const bool in_registers = a_in_registers(i);
  const u64 descriptor_a = in_registers ? 0 : uniform_value(w, i.operands[1][0]);
  const u64 descriptor_b = uniform_value(w, i.operands[2][0]);
  const auto begin = [&](u32 address, u32, u32) {
    if (!in_bounds(b, address)) return b.fault("wgmma reads out of bounds", w.thread(0), "%#x", address);
    begin_async_read(w, 0, b, address, 16, Reader::wgmma);
  };
  if (!in_registers) {
    check_descriptor(w, descriptor_a, i.transposed[0]);
    operand_a(w, i, descriptor_a).for_units(begin);
  }
  check_descriptor(w, descriptor_b, i.transposed[1]);
  operand_b(i, descriptor_b).for_units(begin);
  for (int n = 0; n <= int(in_registers); ++n) {
    for (const Operand& operand : i.operands[n]) {
      if (!w.dirty[operand.slot / 128]) continue;
      b.fault("wgmma registers written since the last wgmma.fence", w.thread(0), " ");
      break;
    }
  }
  hold(w, i);
  const int scale = i.predicate_in[0];  // "scale-d": false ignores the sums so far
  const bool adds = scale == -2 || (scale >= 0 && (w.predicates[scale] & 1));
  w.products.open.push_back({&i, descriptor_a, descriptor_b, adds});
}

// "Register Fragments": A as for mma; sum u of a lane has row lane / 4 + 8 (u / 2 % 2) and column
// 8 (u / 4) + 2 (lane % 4) + u % 2.
void read_a(Warp& w, const WarpgroupProduct& product, float (*a)[32]) {
  const Instruction& i = *product.instruction;
  if (!a_in_registers(i)) {
    const OperandInMemory operand = operand_a(w, i, product.a);
    read_elements(*w.block, operand, [&](u32 row, u32 l, float value) { a[row - operand.first][l] = value; });
    return;
  }
  const u32 bytes = bytes_of(i.format[0]), columns = 4 / bytes;
  for (int lane = 0; lane < LANES; ++lane) {
    for (u32 u = 0; u < 4; ++u) {
      const u64 word = w.at<u32>(i.operands[1][u].slot)[lane];
      for (u32 e = 0; e < columns; ++e) {
        const u32 bits = u32(word >> 8 * bytes * e & ((1ull << 8 * bytes) - 1));
        const u32 row = u32(lane) / 4 + 8 * (u % 2), l = (u32(lane) % 4 + 4 * (u / 2)) * columns + e;
        a[row][l] = operand_to_float(i.format[0], bits);
      }
    }
  }
}

void finish_product(Warp& w, const WarpgroupProduct& product) {
  Block& b = *w.block;
  const Instruction& i = *product.instruction;
  static thread_local float a[16][32], bt[32][256];
  read_a(w, product, a);
  const OperandInMemory in_b = operand_b(i, product.b);
  read_elements(b, in_b, [&](u32 n, u32 l, float value) { bt[l][n] = value; });
  for (int row = 0; row < 16; ++row) {
    float sums[256];
    const int lane0 = row % 8 * 4, upper = row / 8 * 2;
    for (int n = 0; n < i.n; ++n) {
      const Operand& operand = i.operands[0][n / 8 * 4 + upper + n % 2];
      sums[n] = product.adds ? w.at<float>(operand.slot)[lane0 + n % 8 / 2] : 0;
    }
    multiply_row<256>(a[row], bt, i.k, i.n, b.run.options.truncating, sums);
    for (int n = 0; n < i.n; ++n) {
      w.at<float>(i.operands[0][n / 8 * 4 + upper + n % 2].slot)[lane0 + n % 8 / 2] = sums[n];
    }
  }
  const auto end = [&](u32 address, u32, u32) {
    if (in_bounds(b, address)) end_async_read(w, 0, b, address, 16);
  };
  if (!a_in_registers(i)) operand_a(w, i, product.a).for_units(end);
  in_b.for_units(end);
}

// "wgmma.commit_group".
void commit_products(Warp& w, const Instruction&, u32) {
  w.products.closed.push_back(std::move(w.products.open));
  w.products.open.clear();
}

// "wgmma.wait_group": at most `count` groups may remain.
void wait_products(Warp& w, const Instruction& i, u32) {
  ProductGroups& groups = w.products;
  while (int(groups.closed.size()) > i.count) {
    for (const auto& product : groups.closed.front()) finish_product(w, product);
    groups.closed.pop_front();
  }
  std::fill(w.held.begin(), w.held.end(), 0);
  for (const auto& group : groups.closed) {
    for (const auto& product : group) hold(w, *product.instruction);
  }
  for (const auto& product : groups.open) hold(w, *product.instruction);
}

// "wgmma.fence".
void fence_registers(Warp& w, const Instruction&, u32) { std::fill(w.dirty.begin(), w.dirty.end(), 0); }

void decode_wgmma(Decoder& d) {
  Instruction& it = d.instruction;
  int m = 0;
  const std::string shape = d.take_next();
  if (sscanf(shape.c_str(), "m%dn%dk%d", &m, &it.n, &it.k) != 3 || m != 64 || it.n % 8 || it.n > 256)
    d.unknown();
  d.require("f32");
  if (!find_format(d.take_next(), it.format[0]) || !find_format(d.take_next(), it.format[1])) d.unknown();
  const u32 bytes = bytes_of(it.format[0]);
  if (bytes_of(it.format[1]) != bytes || u32(it.k) * bytes != 32) d.unknown();
  if (bytes > 1 && it.format[0] != it.format[1]) d.unknown();
  if (d.arguments.size() < 6) d.unknown();
  const bool in_registers = d.arguments[1][0] == '{';
  d.vector(0, 32, size_t(it.n) / 2);
  d.vector(1, in_registers ? 32 : 64, in_registers ? 4 : 1);
  d.vector(2, 64, 1);
  it.predicate_in[0] = d.predicate_or_constant(3);
  if (d.constant(4) != 1 || d.constant(5) != 1) d.unknown();
  if (bytes == 2) {  // only 16-bit operands may be transposed
    if (!in_registers) it.transposed[0] = d.constant(6);
    it.transposed[1] = d.constant(in_registers ? 6 : 7);
  }
  d.finish(6 + (bytes != 2 ? 0 : in_registers ? 1 : 2));
  it.handler = start_product;
  d.symbols.kernel.has_wgmma = true;
}

}  // namespace

void watch_registers(Warp& w, const Instruction& i) {
  for (const Touch& touch : i.touches) {
    const u32 index = touch.slot / 128;
    if (w.held[index]) w.block->fault("a register of a wgmma under way is touched", w.thread(0), " ");
    if (touch.writes) w.dirty[index] = 1;
  }
}

bool decode_warpgroup(Decoder& d) {
  if (d.name != "wgmma") return false;
  Instruction& it = d.instruction;
  it.flow = Flow::collective;
  const std::string kind = d.take_next();
  for (const char* word : {"sync", "aligned"}) d.require(word);
  if (kind == "mma_async") {
    decode_wgmma(d);
  } else if (kind == "fence") {
    it.handler = fence_registers;
    d.finish(0);
  } else if (kind == "commit_group") {
    it.handler = commit_products;
    d.finish(0);
  } else if (kind == "wait_group") {
    it.handler = wait_products;
    it.count = int(d.constant(0));
    d.finish(1);
  } else {
    d.unknown();
  }
  return true;
}

}  // namespace ptx
