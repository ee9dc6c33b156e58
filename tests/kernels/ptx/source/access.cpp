// "Data Movement and Conversion Instructions": ld, st, cvta, mapa, getctarank.
#include <algorithm>

#include "decoder.hpp"
#include "memory.hpp"

namespace ptx {
namespace {

struct Target {
  Space space;
  u64 address;
};

// "Generic Addressing".
Target resolve(Warp& w, const Instruction& i, const Operand& base, int lane) {
  const u64 address = value_of(w, base, lane) + u64(i.offset[0]);
  if (i.space != Space::generic) return {i.space, address};
  const u64 window = address & WINDOW_MASK;
  if (window == SHARED_WINDOW) return {Space::cluster, address & ~WINDOW_MASK};
  if (window == PARAM_WINDOW) return {Space::param, address & ~WINDOW_MASK};
  return {Space::global, address};
}

void read_parameter(Block& b, int thread, u64 address, u32 bytes, void* to) {
  if (address % bytes)
    b.fault("misaligned parameter read", thread, "%u at %#llx", bytes, (unsigned long long)address);
  if (address + bytes > b.run.parameters.size()) {
    b.fault("parameter read out of bounds", thread, "%u at %#llx", bytes, (unsigned long long)address);
    memset(to, 0xff, bytes);
    return;
  }
  memcpy(to, &b.run.parameters[address], bytes);
}

Place find_shared(Warp& w, const Target& target, int lane) {
  if (target.address >> 32) {
    w.block->fault("shared address of more than 32 bits", w.thread(lane), "%#llx",
                   (unsigned long long)target.address);
    return {nullptr, 0};
  }
  if (target.space == Space::shared) return {w.block, u32(target.address)};
  return find_place(w, lane, u32(target.address));
}

void put_element(Warp& w, const Operand& to, int lane, const u8* from, u32 bytes, bool is_signed) {
  if (to.kind == Operand::Kind::sink) return;
  u64 value = 0;
  memcpy(&value, from, bytes);
  if (is_signed && bytes < 8 && value >> (8 * bytes - 1)) value |= ~0ull << (8 * bytes);
  if (to.bits == 64) {
    w.at<u64>(to.slot)[lane] = value;
  } else {
    w.at<u32>(to.slot)[lane] = to.bits == 16 ? u32(value) & 0xffff : u32(value);
  }
}

// "ld": `flag` for a signed type.
void load(Warp& w, const Instruction& i, u32 mask) {
  Block& b = *w.block;
  const u32 bytes = i.element_bytes * u32(i.count);
  const auto& to = i.operands[0];
  for_lanes(mask, [&](int lane) {
    u8 data[16];
    const Target target = resolve(w, i, i.operands[1][0], lane);
    const int thread = w.thread(lane);
    if (target.space == Space::param) {
      read_parameter(b, thread, target.address, bytes, data);
    } else if (target.space == Space::global) {
      read_global(b, thread, target.address, bytes, data, bytes);
    } else {
      const Place place = find_shared(w, target, lane);
      memset(data, 0xff, bytes);
      if (place.block && check_bounds(*place.block, thread, place.address, bytes, bytes, "read")) {
        note_read(w, lane, *place.block, place.address, bytes);
        memcpy(data, place.block->bytes(place.address), bytes);
      }
    }
    for (int n = 0; n < i.count; ++n) {
      put_element(w, to[n], lane, data + n * i.element_bytes, i.element_bytes, i.flag);
    }
  });
}

// "st".
void store(Warp& w, const Instruction& i, u32 mask) {
  Block& b = *w.block;
  const u32 bytes = i.element_bytes * u32(i.count);
  const auto& from = i.operands[0];
  for_lanes(mask, [&](int lane) {
    u8 data[16];
    for (int n = 0; n < i.count; ++n) {
      const u64 value = value_of(w, from[n], lane);
      memcpy(data + n * i.element_bytes, &value, i.element_bytes);
    }
    const Target target = resolve(w, i, i.operands[1][0], lane);
    const int thread = w.thread(lane);
    if (target.space == Space::param) {
      b.fault("write to a parameter", thread, "%#llx", (unsigned long long)target.address);
    } else if (target.space == Space::global) {
      write_global(b, thread, target.address, bytes, data, bytes);
    } else {
      const Place place = find_shared(w, target, lane);
      if (!place.block || !check_bounds(*place.block, thread, place.address, bytes, bytes, "write")) return;
      note_write(w, lane, *place.block, place.address, bytes);
      memcpy(place.block->bytes(place.address), data, bytes);
    }
  });
}

Space find_space(Decoder& d) {
  if (d.take("param") || d.take("param::entry")) return Space::param;
  if (d.take("shared") || d.take("shared::cta")) return Space::shared;
  if (d.take("shared::cluster")) return Space::cluster;
  return d.take("global") ? Space::global : Space::generic;
}

void decode_access(Decoder& d) {
  Instruction& it = d.instruction;
  const bool loads = d.name == "ld";
  it.space = find_space(d);
  it.count = d.take("v2") ? 2 : d.take("v4") ? 4 : 1;
  if (loads) d.take("nc");
  for (const char* hint : {"L1::no_allocate", "L1::evict_first", "L1::evict_last", "L2::128B", "L2::256B"})
    d.take(hint);
  const std::string type = d.take_next();
  const int bits = type_bits(type);
  if (bits != 8 && bits != 16 && bits != 32 && bits != 64) d.unknown();
  it.element_bytes = u32(bits) / 8;
  it.flag = loads && type[0] == 's';
  if (it.element_bytes * it.count > 16) d.unknown();
  if (!loads && it.element_bytes * it.count == 1) d.symbols.kernel.grain_bytes = 1;
  d.finish(2);
  for (const Operand& operand : d.vector(loads ? 0 : 1, std::max(bits, 16), size_t(it.count))) {
    if (operand.kind == Operand::Kind::register_ && operand.bits < bits) d.unknown();
  }
  d.address(loads ? 1 : 0, it.space == Space::generic || it.space == Space::global ? 64 : 32, it.offset[0]);
  it.handler = loads ? load : store;
}

void add_window(Warp& w, const Instruction& i, u32 mask) {
  u64* d = w.at<u64>(i.destination);
  const u64 window = i.space == Space::param ? PARAM_WINDOW : i.space == Space::global ? 0 : SHARED_WINDOW;
  for_lanes(mask, [&](int l) { d[l] = w.at<u64>(i.source[0])[l] | window; });
}
void remove_window(Warp& w, const Instruction& i, u32 mask) {
  u64* d = w.at<u64>(i.destination);
  const u64 kept = i.space == Space::global ? ~0ull : ~WINDOW_MASK;
  for_lanes(mask, [&](int l) { d[l] = w.at<u64>(i.source[0])[l] & kept; });
}

// "cvta": between generic addresses and those of a state space; global addresses are the same in both.
void decode_cvta(Decoder& d) {
  Instruction& it = d.instruction;
  const bool to = d.take("to");
  it.space = find_space(d);
  if (it.space == Space::generic) d.unknown();
  d.require("u64");
  d.finish(2);
  it.handler = to ? remove_window : add_window;
  it.destination = d.slot(0, 64);
  it.source[0] = d.slot(1, 64);
}

// "mapa": the shared::cluster address, in the block of a rank, of a variable of the own block.
template <class S>
void map_address(Warp& w, const Instruction& i, u32 mask) {
  const Block& b = *w.block;
  S* d = w.at<S>(i.destination);
  for_lanes(mask, [&](int l) {
    const u64 base = value_of(w, i.operands[0][0], l), rank = w.at<u32>(i.source[1])[l];
    if (rank >= b.cluster.blocks.size())
      w.block->fault("mapa of no block", w.thread(l), "rank %u", u32(rank));
    d[l] = S((base & ~u64(RANK_MASK)) | (rank + 1) << RANK_SHIFT);
  });
}

// "getctarank": the rank of the block that an address belongs to.
template <class S>
void find_rank(Warp& w, const Instruction& i, u32 mask) {
  u32* d = w.at<u32>(i.destination);
  for_lanes(mask, [&](int l) {
    const u32 rank = u32(value_of(w, i.operands[0][0], l)) >> RANK_SHIFT;
    d[l] = rank ? rank - 1 : w.block->rank;
  });
}

void decode_map(Decoder& d) {
  Instruction& it = d.instruction;
  const bool generic = !d.take("shared::cluster");
  const std::string type = d.take_next();
  const bool ranks = d.name == "getctarank";
  const int bits = type_bits(type);
  if (generic && bits != 64) d.unknown();
  if (bits != 32 && bits != 64) d.unknown();
  d.finish(ranks ? 2 : 3);
  it.destination = d.slot(0, ranks ? 32 : bits);
  it.operands.push_back({d.value(1, bits)});
  if (ranks) {
    it.handler = bits == 64 ? find_rank<u64> : find_rank<u32>;
  } else {
    it.handler = bits == 64 ? map_address<u64> : map_address<u32>;
    it.source[1] = d.slot(2, 32);
  }
}

}  // namespace

bool decode_memory(Decoder& d) {
  if (d.name == "ld" || d.name == "st") {
    decode_access(d);
  } else if (d.name == "cvta") {
    decode_cvta(d);
  } else if (d.name == "mapa" || d.name == "getctarank") {
    decode_map(d);
  } else {
    return false;
  }
  return true;
}

}  // namespace ptx
