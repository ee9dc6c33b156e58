// "Control Flow Instructions", and what the lanes of a warp exchange: shfl, vote, elect, bar.warp.sync;
// setmaxnreg.
#include <cstdlib>

#include "decoder.hpp"
#include "lanes.hpp"

namespace ptx {
namespace {

void put_predicate(Warp& w, int index, u32 mask, u32 value) {
  if (index >= 0) w.predicates[index] = (w.predicates[index] & ~mask) | (value & mask);
}

// "elect.sync": any lane may be the leader, but always the same; chosen by the seed.
void elect(Warp& w, const Instruction& i, u32 mask) {
  const u32 members = u32(value_of(w, i.operands[0][0], __builtin_ctz(mask)));
  if (members != mask) w.block->fault("elect.sync by other lanes than its members", w.thread(0), "%#x", mask);
  u32 left = mask,
      skipped = u32(w.block->run.options.seed * 2654435761u >> 8) % u32(__builtin_popcount(mask));
  while (skipped--) left &= left - 1;
  const int leader = __builtin_ctz(left);
  if (i.destination) {
    u32* d = w.at<u32>(i.destination);
    for_lanes(mask, [=](int l) { d[l] = u32(leader); });
  }
  put_predicate(w, i.predicate_out, mask, 1u << leader);
}

// "shfl.sync": variant 0 up, 1 down, 2 bfly, 3 idx.
void shuffle(Warp& w, const Instruction& i, u32 mask) {
  u32* d = w.at<u32>(i.destination);
  u32 from[LANES], valid = 0;
  memcpy(from, w.at<u32>(i.source[0]), sizeof from);
  for_lanes(mask, [&](int l) {
    const int distance = int(w.at<u32>(i.source[1])[l] & 31);
    const u32 clamp_and_segment = w.at<u32>(i.source[2])[l];
    const int segment = int(clamp_and_segment >> 8 & 31), clamp = int(clamp_and_segment & 31);
    const int highest = (l & segment) | (clamp & ~segment), lowest = l & segment;
    const int wanted[] = {l - distance, l + distance, l ^ distance, lowest | (distance & ~segment)};
    const int source = wanted[i.variant];
    const bool inside = i.variant == 0 ? source >= highest : source <= highest;
    if (inside && !(mask >> source & 1))
      w.block->fault("shfl from a lane that takes no part", w.thread(l), "%d", source);
    valid |= u32(inside) << l;
    d[l] = from[inside ? source : l];
  });
  put_predicate(w, i.predicate_out, mask, valid);
}

// "vote.sync": variant 0 any, 1 all, 2 uni, 3 ballot.
void vote(Warp& w, const Instruction& i, u32 mask) {
  u32 votes = w.predicates[i.predicate_in[0]];
  if (i.predicate_in_negated) votes = ~votes;
  votes &= mask;
  if (i.variant == 3) {
    u32* d = w.at<u32>(i.destination);
    for_lanes(mask, [=](int l) { d[l] = votes; });
    return;
  }
  const bool all = votes == mask, none = votes == 0;
  const bool result = i.variant == 0 ? !none : i.variant == 1 ? all : all || none;
  put_predicate(w, i.predicate_out, mask, result ? FULL_MASK : 0);
}

// "bar.warp.sync": orders the accesses of the warp's lanes.
void synchronise_warp(Warp& w, const Instruction&, u32) { w.known.order[w.id] = w.clock++; }

// "setmaxnreg": registers move between the warps of a block; `flag` for inc, which waits until there are
// enough.
void change_registers(Warp& w, const Instruction& i, u32) {
  Block& b = *w.block;
  const u32 wanted = u32(i.count);
  if (i.flag ? wanted < w.register_count : wanted > w.register_count) {
    b.fault("setmaxnreg in the other direction", w.thread(0), "from %u to %u", w.register_count, wanted);
    return;
  }
  if (i.flag) {
    const u32 more = (wanted - w.register_count) * LANES;
    if (more > b.free_registers) {
      b.register_waiters.push_back(&w);
      w.blocked = true;
      --w.pc;  // it is tried again
      return;
    }
    b.free_registers -= more;
  } else {
    b.free_registers += (w.register_count - wanted) * LANES;
    for (Warp* waiter : b.register_waiters) b.cluster.wake(*waiter);
    b.register_waiters.clear();
  }
  w.register_count = wanted;
}

/// `d|p`, each of which may be missing or `_`.
void decode_result_and_predicate(Decoder& d) {
  const std::string both = d.arguments.at(0);
  const size_t bar = both.find('|');
  const Operand result = d.symbols.find(both.substr(0, bar), 32);
  if (result.kind == Operand::Kind::register_) {
    d.instruction.destination = result.slot;
  } else if (result.kind != Operand::Kind::sink) {
    d.unknown();
  }
  if (bar == std::string::npos) return;
  const Operand predicate = d.symbols.find(both.substr(bar + 1), 32);
  if (predicate.kind != Operand::Kind::predicate) d.unknown();
  d.instruction.predicate_out = int(predicate.slot);
}

void decode_shuffle(Decoder& d) {
  Instruction& it = d.instruction;
  d.require("sync");
  it.variant = d.take("up") ? 0 : d.take("down") ? 1 : d.take("bfly") ? 2 : 3;
  if (it.variant == 3) d.require("idx");
  d.require("b32");
  d.finish(5);
  it.handler = shuffle;
  decode_result_and_predicate(d);
  for (size_t n = 0; n < 3; ++n) it.source[n] = d.slot(n + 1, 32);
}

void decode_vote(Decoder& d) {
  Instruction& it = d.instruction;
  d.require("sync");
  it.variant = d.take("any") ? 0 : d.take("all") ? 1 : d.take("uni") ? 2 : 3;
  if (it.variant == 3) d.require("ballot");
  d.require(it.variant == 3 ? "b32" : "pred");
  d.finish(3);
  it.handler = vote;
  it.predicate_in[0] = d.predicate_or_constant(1);
  if (it.predicate_in[0] < 0) d.unknown();
  if (it.variant == 3) {
    it.destination = d.slot(0, 32);
  } else {
    it.predicate_out = d.predicate(0);
  }
}

void decode_registers(Decoder& d) {
  Instruction& it = d.instruction;
  it.flag = d.take("inc");
  if (!it.flag) d.require("dec");
  for (const char* word : {"sync", "aligned", "u32"}) d.require(word);
  d.finish(1);
  it.count = int(d.constant(0));
  if (it.count < 24 || it.count > 256 || it.count % 8) d.unknown();
  it.flow = Flow::collective;
  it.handler = change_registers;
}

}  // namespace

bool decode_control(Decoder& d) {
  Instruction& it = d.instruction;
  if (d.name == "bra") {
    it.flow = Flow::branch;
    it.flag = d.take("uni");
    d.finish(1);
    d.symbols.use_label(d.arguments[0]);
  } else if (d.opcode == "ret" || d.opcode == "exit") {
    it.flow = Flow::exit;
    d.finish(0);
  } else if (d.opcode == "griddepcontrol.wait" || d.opcode == "griddepcontrol.launch_dependents" ||
             d.opcode == "nanosleep.u32") {  // no effect on results
    it.handler = do_nothing;
  } else {
    return false;
  }
  return true;
}

bool decode_warp(Decoder& d) {
  Instruction& it = d.instruction;
  if (d.opcode == "bar.warp.sync") {
    it.handler = synchronise_warp;
    it.flow = Flow::collective;
  } else if (d.opcode == "elect.sync") {
    it.handler = elect;
    it.operands.push_back({d.value(1, 32)});
    decode_result_and_predicate(d);
  } else if (d.name == "shfl") {
    decode_shuffle(d);
  } else if (d.name == "vote") {
    decode_vote(d);
  } else if (d.name == "setmaxnreg") {
    decode_registers(d);
  } else {
    return false;
  }
  if (it.flow == Flow::plain) it.flow = Flow::collective;
  return true;
}

}  // namespace ptx
