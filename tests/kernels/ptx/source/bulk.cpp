// "cp.async.bulk" and "cp.async.bulk.tensor" (TMA): loads counted by an mbarrier, stores waited for in
// groups.
#include <algorithm>

#include "copies.hpp"
#include "decoder.hpp"

namespace ptx {
namespace {

using ull = unsigned long long;

/// Calls `body(address, offset, bytes)` for the parts of a row of a tile that stay together in the swizzle.
template <class Body>
void for_units(u32 tile, u32 at, u32 bytes, u32 swizzle, Body body) {
  for (u32 done = 0; done < bytes;) {
    const u32 address = tile + at + done, inside = address % 16;
    const u32 taken = std::min(16 - inside, bytes - done);
    body(swizzled(address - inside, swizzle) + inside, done, taken);
    done += taken;
  }
}

// ---- loads -----------------------------------------------------------------------------------

/// Sends the data to one block; the bytes arrive later.
void send(Warp& w, int lane, Block& to, u32 address, u32 barrier, u32 swizzle, const std::vector<u8>& data) {
  const u32 bytes = u32(data.size());
  if (!check_bounds(to, w.thread(lane), address, bytes, 16, "bulk copy")) return;
  check_async_barrier(w, lane, {&to, barrier});
  begin_async_write(w, lane, to, address, bytes);
  memset(to.bytes(address), 0xff, bytes);
  w.block->cluster.loads.push_back({&to, address, data, barrier, swizzle});
}

/// The destinations of a load: one block, or with multicast the blocks of a mask, at the same offsets.
void distribute(Warp& w, const Instruction& i, int lane, u32 swizzle, const std::vector<u8>& data) {
  Block& b = *w.block;
  const Place to = find_place(w, lane, shared_address(w, i.operands[0][0], lane, i.offset[0]));
  const Place barrier = find_place(w, lane, shared_address(w, i.operands[2][0], lane, i.offset[1]));
  if (!to.block || !barrier.block) return;
  if (to.block != barrier.block) {
    b.fault("bulk copy with its mbarrier in another block", w.thread(lane), "%#x", barrier.address);
    return;
  }
  if (swizzle && to.address % (8 * swizzle)) {
    b.fault("misaligned swizzled tensor copy", w.thread(lane), "to %#x", to.address);
  }
  if (!i.flag) return send(w, lane, *to.block, to.address, barrier.address, swizzle, data);
  const u32 mask = u32(value_of(w, i.operands[3][0], lane)) & 0xffff;
  const u32 blocks = u32(b.cluster.blocks.size());
  if (mask == 0 || mask >> blocks)
    b.fault("multicast to blocks outside the cluster", w.thread(lane), "%#x", mask);
  for (u32 rank = 0; rank < blocks; ++rank) {
    if (!(mask >> rank & 1)) continue;
    const Place place = find_place(w, lane, to.address | (rank + 1) << RANK_SHIFT);
    if (place.block) send(w, lane, *place.block, to.address, barrier.address, swizzle, data);
  }
}

// "cp.async.bulk" from global to shared memory.
void load_bulk(Warp& w, const Instruction& i, u32 mask) {
  Block& b = *w.block;
  for_lanes(mask, [&](int lane) {
    const u64 from = value_of(w, i.operands[1][0], lane);
    const u32 bytes = u32(value_of(w, i.operands[i.operands.size() - 1][0], lane));
    if (bytes % 16 || from % 16) {
      b.fault("bulk copy not of whole 16 bytes", w.thread(lane), "%u bytes from %#llx", bytes, ull(from));
      return;
    }
    std::vector<u8> data(bytes);
    read_global(b, w.thread(lane), from, bytes, data.data(), 16);
    distribute(w, i, lane, 0, data);
  });
}

// ---- tensors ---------------------------------------------------------------------------------

/// The map that an operand points to; false, with a fault, if there is none.
bool find_map(Warp& w, int lane, const Instruction& i, const std::vector<Operand>& operand, TensorMap& map) {
  Block& b = *w.block;
  const u64 generic = value_of(w, operand[0], lane), at = generic & ~WINDOW_MASK;
  const int thread = w.thread(lane);
  if ((generic & WINDOW_MASK) != PARAM_WINDOW) {
    b.fault("tensor map not at the generic address of a parameter", thread, "%#llx", ull(generic));
    return false;
  }
  if (at % 64) b.fault("misaligned tensor map", thread, "%#llx", ull(at));
  if (at + sizeof map > b.run.parameters.size()) {
    b.fault("tensor map out of bounds", thread, "%#llx", ull(at));
    return false;
  }
  memcpy(&map, &b.run.parameters[at], sizeof map);
  if (map.magic != TensorMap::MAGIC || map.rank != i.n) {
    b.fault("no tensor map of this rank", thread, "%#llx", ull(at));
    return false;
  }
  if (map.swizzle && map.box[0] * map.element_bytes != map.swizzle) {
    b.fault("rows of a box that are no span of the swizzle", thread, "%u bytes",
            map.box[0] * map.element_bytes);
  }
  return true;
}

/// Calls `body(address, offset in the box, elements)` for the part of each row of a box within the tensor.
template <class Body>
void for_rows(Warp& w, int lane, const TensorMap& map, const std::vector<Operand>& operand, Body body) {
  s64 start[5] = {};
  u32 box[5] = {1, 1, 1, 1, 1}, index[5] = {};
  for (int axis = 0; axis < map.rank; ++axis) {
    start[axis] = s32(value_of(w, operand[size_t(axis) + 1], lane));
    box[axis] = map.box[axis];
  }
  const s64 first = std::max<s64>(0, -start[0]);
  const s64 end = std::min<s64>(box[0], s64(map.last[0]) + 1 - start[0]);
  u32 rows = 1;
  for (int axis = 1; axis < 5; ++axis) rows *= box[axis];
  for (u32 row = 0; row < rows; ++row) {
    u64 address = map.address + u64(start[0] + first) * map.element_bytes;
    bool inside = first < end;
    for (int axis = 1; axis < map.rank; ++axis) {
      const s64 at = start[axis] + index[axis];
      inside &= at >= 0 && at <= s64(map.last[axis]);
      address += u64(at) * map.strides[axis - 1];
    }
    if (inside) body(address, (row * box[0] + u32(first)) * map.element_bytes, u32(end - first));
    for (int axis = 1; axis < 5 && ++index[axis] == box[axis]; ++axis) index[axis] = 0;
  }
}

// "cp.async.bulk.tensor" from global to shared memory; outside the tensor are zeros.
void load_tensor(Warp& w, const Instruction& i, u32 mask) {
  for_lanes(mask, [&](int lane) {
    TensorMap map;
    if (!find_map(w, lane, i, i.operands[1], map)) return;
    u32 bytes = map.element_bytes;
    for (int axis = 0; axis < map.rank; ++axis) bytes *= map.box[axis];
    std::vector<u8> data(bytes);
    for_rows(w, lane, map, i.operands[1], [&](u64 from, u32 at, u32 elements) {
      read_global(*w.block, w.thread(lane), from, elements * map.element_bytes, &data[at], map.element_bytes);
    });
    if (map.rounds_to_tf32) {  // CU_TENSOR_MAP_DATA_TYPE_TFLOAT32
      for (u32 at = 0; at < bytes; at += 4) {
        u32 bits;
        memcpy(&bits, &data[at], 4);
        if ((bits & 0x7fffffff) < 0x7f800000) bits = (bits + 0x1000) & ~0x1fffu;
        memcpy(&data[at], &bits, 4);
      }
    }
    const u32 address = shared_address(w, i.operands[0][0], lane, i.offset[0]) & ~RANK_MASK;
    if (address % 128) w.block->fault("tensor copy not to a multiple of 128", w.thread(lane), "%#x", address);
    distribute(w, i, lane, map.swizzle, data);
  });
}

// ---- stores ----------------------------------------------------------------------------------

void start_store(Warp& w, int lane, BulkStore&& store) {
  for (const auto& piece : store.pieces) {
    for_units(store.from, piece.at, u32(piece.data.size()), store.swizzle, [&](u32 address, u32, u32 bytes) {
      if (check_bounds(*w.block, w.thread(lane), address, bytes, 1, "bulk store")) {
        begin_async_read(w, lane, *w.block, address, bytes, Reader::store);
      }
    });
  }
  w.block->stores[w.thread(lane)].open.push_back(std::move(store));
}

// "cp.async.bulk" from shared to global memory.
void store_bulk(Warp& w, const Instruction& i, u32 mask) {
  for_lanes(mask, [&](int lane) {
    const u64 to = value_of(w, i.operands[0][0], lane);
    const u32 from = shared_address(w, i.operands[1][0], lane, i.offset[1]);
    const u32 bytes = u32(value_of(w, i.operands[2][0], lane));
    if (bytes % 16 || to % 16 || from % 16) {
      w.block->fault("bulk copy not of whole 16 bytes", w.thread(lane), "%u bytes to %#llx", bytes, ull(to));
    }
    BulkStore store{from, 0, false, {}};
    store.pieces.push_back({to, 0, 16, std::vector<u8>(bytes)});
    start_store(w, lane, std::move(store));
  });
}

// "cp.async.bulk.tensor" from shared to global memory; what is outside the tensor is not written.
void store_tensor(Warp& w, const Instruction& i, u32 mask) {
  for_lanes(mask, [&](int lane) {
    TensorMap map;
    if (!find_map(w, lane, i, i.operands[0], map)) return;
    const u32 from = shared_address(w, i.operands[1][0], lane, i.offset[0]);
    if (from % 128 || (map.swizzle && from % (8 * map.swizzle))) {
      w.block->fault("misaligned tensor store", w.thread(lane), "from %#x", from);
    }
    BulkStore store{from, map.swizzle, false, {}};
    for_rows(w, lane, map, i.operands[0], [&](u64 to, u32 at, u32 elements) {
      store.pieces.push_back({to, at, map.element_bytes, std::vector<u8>(elements * map.element_bytes)});
    });
    start_store(w, lane, std::move(store));
  });
}

void read_store(Warp& w, int lane, BulkStore& store) {
  Block& b = *w.block;
  if (store.read) return;
  store.read = true;
  for (auto& piece : store.pieces) {
    const u32 bytes = u32(piece.data.size());
    for_units(store.from, piece.at, bytes, store.swizzle, [&](u32 address, u32 offset, u32 count) {
      if (address < SHARED_BASE || address + count > b.shared_top) return;
      memcpy(&piece.data[offset], b.bytes(address), count);
      end_async_read(w, lane, b, address, count);
    });
  }
}

void write_store(Block& b, int thread, const BulkStore& store) {
  for (const auto& piece : store.pieces) {
    write_global(b, thread, piece.to, u32(piece.data.size()), piece.data.data(), piece.align);
  }
}

// "cp.async.bulk.commit_group".
void commit_stores(Warp& w, const Instruction&, u32 mask) {
  for_lanes(mask, [&](int lane) {
    StoreGroups& groups = w.block->stores[w.thread(lane)];
    groups.closed.push_back(std::move(groups.open));
    groups.open.clear();
  });
}

// "cp.async.bulk.wait_group": at most `count` groups may remain; `flag` for .read, which leaves the writes
// pending.
void wait_stores(Warp& w, const Instruction& i, u32 mask) {
  for_lanes(mask, [&](int lane) {
    auto& closed = w.block->stores[w.thread(lane)].closed;
    const size_t kept = std::min(closed.size(), size_t(i.count));
    for (size_t n = 0; n < closed.size() - kept; ++n) {
      for (BulkStore& store : closed[n]) read_store(w, lane, store);
    }
    if (i.flag) return;
    for (; closed.size() > kept; closed.pop_front()) {
      for (const BulkStore& store : closed.front()) write_store(*w.block, w.thread(lane), store);
    }
  });
}

// ---- opcodes ---------------------------------------------------------------------------------

/// `[map, {coordinates}]`, appended to the operands.
void decode_tensor_address(Decoder& d, size_t argument) {
  if (argument >= d.arguments.size() || d.arguments[argument].size() < 2) d.unknown();
  const std::string& text = d.arguments[argument];
  const auto parts = split_operands(text.substr(1, text.size() - 2));
  if (parts.size() != 2) d.unknown();
  std::vector<Operand> operand = d.list(parts[0], 64);
  for (const Operand& coordinate : d.list(parts[1], 32)) operand.push_back(coordinate);
  if (int(operand.size()) != d.instruction.n + 1) d.unknown();
  d.instruction.operands.push_back(operand);
}

void decode_load(Decoder& d, bool tensor) {
  Instruction& it = d.instruction;
  if (!d.take("shared::cluster")) d.require("shared::cta");
  d.require("global");
  d.require("mbarrier::complete_tx::bytes");
  it.flag = d.take("multicast::cluster");
  const bool hint = d.take("L2::cache_hint");
  const size_t barrier = tensor ? 2 : 3;
  s64 offset;
  d.address(0, 32, it.offset[0]);
  if (tensor) {
    decode_tensor_address(d, 1);
  } else if (d.address(1, 64, offset); offset) {
    d.unknown();
  }
  d.address(barrier, 32, it.offset[1]);
  if (it.flag) d.vector(barrier + 1, 16, 1);
  if (!tensor) d.vector(2, 32, 1);  // the size, as the last operand
  d.finish(barrier + 1 + it.flag + hint);
  it.handler = tensor ? load_tensor : load_bulk;
}

void decode_store(Decoder& d, bool tensor) {
  Instruction& it = d.instruction;
  if (!d.take("shared::cta")) d.require("shared");
  d.require("bulk_group");
  const bool hint = d.take("L2::cache_hint");
  s64 offset = 0;
  if (tensor) {
    decode_tensor_address(d, 0);
    d.address(1, 32, it.offset[0]);
  } else {
    d.address(0, 64, offset);
    if (offset) d.unknown();
    d.address(1, 32, it.offset[1]);
    d.vector(2, 32, 1);
  }
  d.finish((tensor ? 2 : 3) + hint);
  it.handler = tensor ? store_tensor : store_bulk;
}

}  // namespace

bool decode_bulk_copies(Decoder& d) {
  Instruction& it = d.instruction;
  if (d.opcode == "prefetch.tensormap" || d.opcode == "prefetch.param.tensormap") {
    it.handler = do_nothing;
    return true;
  }
  if (d.opcode.rfind("cp.async.bulk", 0) != 0) return false;
  d.require("async");
  d.require("bulk");
  if (d.take("commit_group")) {
    it.handler = commit_stores;
    d.finish(0);
    return true;
  }
  if (d.take("wait_group")) {
    it.flag = d.take("read");
    it.count = int(d.constant(0));
    it.handler = wait_stores;
    d.finish(1);
    return true;
  }
  const bool tensor = d.take("tensor");
  if (tensor) {
    const std::string dimensions = d.take_next();
    if (dimensions.size() != 2 || dimensions[1] != 'd' || dimensions[0] < '1' || dimensions[0] > '5')
      d.unknown();
    it.n = dimensions[0] - '0';
    d.take("tile");
  }
  const bool stores = d.opcode.find("bulk_group") != std::string::npos;
  if (stores) d.require("global");
  stores ? decode_store(d, tensor) : decode_load(d, tensor);
  return true;
}

void land_load(Cluster& cluster, size_t index) {
  const BulkLoad load = std::move(cluster.loads[index]);
  cluster.loads.erase(cluster.loads.begin() + long(index));
  Block& b = *load.block;
  const u32 bytes = u32(load.data.size());
  for_units(load.to, 0, bytes, load.swizzle,
            [&](u32 address, u32 offset, u32 count) { memcpy(b.bytes(address), &load.data[offset], count); });
  ++cluster.async_clock;
  for (u32 n = 0; n < b.grains_in(bytes); ++n) {
    Grain& grain = b.grain(load.to)[n];
    grain.flags = Grain::SET;
    grain.clock = cluster.async_clock;
  }
  complete_bytes(cluster, b, load.barrier, bytes);
}

void finish_copies(Block& b) {
  for (const Warp& w : b.cluster.warps) {
    if (w.block != &b) continue;
    for (int lane = 0; lane < LANES; ++lane) {
      size_t left = w.async[lane].open.size();
      for (const auto& group : w.async[lane].closed) left += group.size();
      if (left) b.fault("a thread ends with asynchronous copies under way", w.thread(lane), "%d", int(left));
    }
    size_t left = w.products.open.size();
    for (const auto& group : w.products.closed) left += group.size();
    if (left) b.fault("a warp ends with wgmma under way", w.thread(0), "%d", int(left));
  }
  for (auto& [thread, groups] : b.stores) {
    if (!groups.open.empty()) b.fault("a thread ends with bulk stores that were not committed", thread, " ");
    for (const auto& group : groups.closed) {
      for (const BulkStore& store : group) {
        if (!store.read) b.fault("a block ends while bulk stores read its shared memory", thread, " ");
        write_store(b, thread, store);
      }
    }
  }
}

}  // namespace ptx
