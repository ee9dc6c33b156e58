// "cp.async": copies of a thread from global to shared memory, which land at the wait for their group.
#include "copies.hpp"

#include <cstdlib>

#include "decoder.hpp"

namespace ptx {
namespace {

void set_in_flight(Block& b, u32 address, u32 bytes, bool in_flight) {
  for (u32 n = 0; n < b.grains_in(bytes); ++n) {
    u8& flags = b.grain(address)[n].flags;
    flags = u8(in_flight ? flags | Grain::IN_FLIGHT : flags & ~Grain::IN_FLIGHT);
  }
}

// "cp.async": bytes beyond the source size are zero; `count` is the size of the copy.
void copy_async(Warp& w, const Instruction& i, u32 mask) {
  Block& b = *w.block;
  const u32 bytes = u32(i.count);
  for_lanes(mask, [&](int lane) {
    const int thread = w.thread(lane);
    const u32 to = shared_address(w, i.operands[0][0], lane, i.offset[0]);
    const u64 from = value_of(w, i.operands[1][0], lane) + u64(i.offset[1]);
    u32 read = i.operands.size() > 2 ? u32(value_of(w, i.operands[2][0], lane)) : bytes;
    if (read > bytes) {
      b.fault("cp.async reads more than it writes", thread, "%u > %u", read, bytes);
      read = bytes;
    }
    if (from % bytes) b.fault("misaligned cp.async source", thread, "%#llx", (unsigned long long)from);
    if (read) {
      u8 probe[16];
      read_global(b, thread, from, read, probe, 1);
    } else if (!find_region(b.run, from, bytes)) {
      b.run.note("cp.async of zeros names an address outside all arrays");
    }
    if (!check_bounds(b, thread, to, bytes, bytes, "cp.async write")) return;
    note_write(w, lane, b, to, bytes);
    set_in_flight(b, to, bytes, true);
    memset(b.bytes(to), 0xff, bytes);
    w.async[lane].open.push_back({to, from, bytes, read});
  });
}

void land_copies(Warp& w, int lane, std::vector<AsyncCopy>& copies) {
  Block& b = *w.block;
  for (const AsyncCopy& copy : copies) {
    u8 data[16] = {};
    if (copy.read && find_region(b.run, copy.from, copy.read)) {
      memcpy(data, reinterpret_cast<const void*>(copy.from), copy.read);
    }
    note_write(w, lane, b, copy.to, copy.bytes, true);
    set_in_flight(b, copy.to, copy.bytes, false);
    memcpy(b.bytes(copy.to), data, copy.bytes);
  }
}

// "cp.async.commit_group".
void commit_copies(Warp& w, const Instruction&, u32 mask) {
  for_lanes(mask, [&](int lane) {
    AsyncGroups& groups = w.async[lane];
    groups.closed.push_back(std::move(groups.open));
    groups.open.clear();
  });
}

// "cp.async.wait_group": at most `count` groups may remain. "cp.async.wait_all": `flag`.
void wait_copies(Warp& w, const Instruction& i, u32 mask) {
  for_lanes(mask, [&](int lane) {
    AsyncGroups& groups = w.async[lane];
    while (int(groups.closed.size()) > i.count) {
      land_copies(w, lane, groups.closed.front());
      groups.closed.pop_front();
    }
    if (!i.flag) return;
    land_copies(w, lane, groups.open);
    groups.open.clear();
  });
}

}  // namespace

bool decode_copies(Decoder& d) {
  Instruction& it = d.instruction;
  if (d.name != "cp" || d.opcode.rfind("cp.async.bulk", 0) == 0) return false;
  d.require("async");
  if (d.take("commit_group")) {
    it.handler = commit_copies;
    d.finish(0);
  } else if (d.take("wait_group") || d.take("wait_all")) {
    it.flag = d.opcode == "cp.async.wait_all";
    it.handler = wait_copies;
    it.count = it.flag ? 0 : int(d.constant(0));
    d.finish(it.flag ? 0 : 1);
  } else {
    const bool whole = d.take("cg");
    if (!whole) d.require("ca");
    if (!d.take("shared")) d.require("shared::cta");
    d.require("global");
    for (const char* hint : {"L2::64B", "L2::128B", "L2::256B"}) d.take(hint);
    d.finish(d.arguments.size());
    it.count = int(d.constant(2));
    if (it.count != 16 && (whole || (it.count != 4 && it.count != 8))) d.unknown();
    d.address(0, 32, it.offset[0]);
    d.address(1, 64, it.offset[1]);
    if (d.arguments.size() > 3) d.vector(3, 32, 1);
    it.handler = copy_async;
  }
  return true;
}

}  // namespace ptx
