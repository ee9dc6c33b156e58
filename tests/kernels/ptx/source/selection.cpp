// "Comparison and Selection Instructions", logic of predicates, and mov of "Data Movement".
#include <cmath>

#include "forms.hpp"

namespace ptx {
namespace {

template <class S>
void move(Warp& w, const Instruction& i, u32 mask) {
  S* d = w.at<S>(i.destination);
  const S* a = w.at<S>(i.source[0]);
  for_lanes(mask, [=](int l) { d[l] = a[l]; });
}
template <class Narrow, class Wide>
void pack(Warp& w, const Instruction& i, u32 mask) {  // mov d, {a, b}
  Wide* d = w.at<Wide>(i.destination);
  const u32 *a = w.at<u32>(i.source[0]), *b = w.at<u32>(i.source[1]);
  for_lanes(mask, [=](int l) { d[l] = Wide(Narrow(a[l])) | Wide(Narrow(b[l])) << 8 * sizeof(Narrow); });
}
template <class Narrow, class Wide>
void unpack(Warp& w, const Instruction& i, u32 mask) {  // mov {d, e}, a
  const Wide* a = w.at<Wide>(i.source[0]);
  for (int part = 0; part < 2; ++part) {
    const Operand& to = i.operands[0][part];
    if (to.kind == Operand::Kind::sink) continue;
    u32* d = w.at<u32>(to.slot);
    for_lanes(mask, [=](int l) { d[l] = Narrow(a[l] >> part * 8 * sizeof(Narrow)); });
  }
}

template <class S>
void select(Warp& w, const Instruction& i, u32 mask) {
  S* d = w.at<S>(i.destination);
  const S *a = w.at<S>(i.source[0]), *b = w.at<S>(i.source[1]);
  const u32 chosen = w.predicates[i.predicate_in[0]];
  for_lanes(mask, [=](int l) { d[l] = chosen >> l & 1 ? a[l] : b[l]; });
}

u32 predicate_value(Warp& w, int index) { return index == -2 ? ~0u : index == -3 ? 0u : w.predicates[index]; }

void set_predicate(Warp& w, int index, u32 mask, u32 value) {
  w.predicates[index] = (w.predicates[index] & ~mask) | (value & mask);
}

u32 combine(Combine how, u32 a, u32 b) {
  switch (how) {
    case Combine::and_:
      return a & b;
    case Combine::or_:
      return a | b;
    case Combine::xor_:
      return a ^ b;
    default:
      return a;
  }
}

template <class T, class F>
void compare(Warp& w, const Instruction& i, u32 mask) {
  const auto *a = w.at<Slot<T>>(i.source[0]), *b = w.at<Slot<T>>(i.source[1]);
  u32 result = 0;
  for (int l = 0; l < LANES; ++l) result |= u32(F::f(from_slot<T>(a[l]), from_slot<T>(b[l]))) << l;
  if (i.combine != Combine::none) {
    const u32 other = predicate_value(w, i.predicate_in[0]);
    result = combine(i.combine, result, i.predicate_in_negated ? ~other : other);
  }
  set_predicate(w, i.predicate_out, mask, result);
}

void combine_predicates(Warp& w, const Instruction& i, u32 mask) {
  const u32 a = predicate_value(w, i.predicate_in[0]);
  const u32 b = i.combine == Combine::none ? 0 : predicate_value(w, i.predicate_in[1]);
  const u32 result = combine(i.combine, a, b);
  set_predicate(w, i.predicate_out, mask, i.flag ? ~result : result);
}

struct Eq {
  template <class T>
  static bool f(T a, T b) {
    return a == b;
  }
};
struct Ne {
  template <class T>
  static bool f(T a, T b) {
    return a < b || a > b;
  }
};
struct Lt {
  template <class T>
  static bool f(T a, T b) {
    return a < b;
  }
};
struct Le {
  template <class T>
  static bool f(T a, T b) {
    return a <= b;
  }
};
struct Gt {
  template <class T>
  static bool f(T a, T b) {
    return a > b;
  }
};
struct Ge {
  template <class T>
  static bool f(T a, T b) {
    return a >= b;
  }
};
/// Unordered comparisons are also true where an operand is NaN.
template <class F>
struct Unordered {
  static bool f(float a, float b) { return std::isnan(a) || std::isnan(b) || F::f(a, b); }
};

void add_moves(Forms& forms) {
  for (const std::string type : {"b", "u", "s", "f"}) {
    forms["mov." + type + "16"] = {move<u32>, "hh"};
    forms["mov." + type + "32"] = {move<u32>, "ww"};
    forms["mov." + type + "64"] = {move<u64>, "ll"};
    forms["selp." + type + "16"] = {select<u32>, "hhhp"};
    forms["selp." + type + "32"] = {select<u32>, "wwwp"};
    forms["selp." + type + "64"] = {select<u64>, "lllp"};
  }
  forms["mov.pred"] = {combine_predicates, "Pp"};
  forms["not.pred"] = {combine_predicates, "Pp", Combine::none, true};
  forms["and.pred"] = {combine_predicates, "Ppp", Combine::and_};
  forms["or.pred"] = {combine_predicates, "Ppp", Combine::or_};
  forms["xor.pred"] = {combine_predicates, "Ppp", Combine::xor_};
}

template <class T, class F>
void add_comparison(Forms& forms, const std::string& name, const std::string& type, char width) {
  const std::pair<const char*, Combine> combinations[] = {
      {"", Combine::none}, {"and.", Combine::and_}, {"or.", Combine::or_}, {"xor.", Combine::xor_}};
  for (const auto& [word, how] : combinations) {
    const std::string operands = std::string("P") + width + width + (how == Combine::none ? "" : "p");
    forms["setp." + name + "." + word + type] = {compare<T, F>, operands, how};
  }
}

template <class T>
void add_comparisons(Forms& forms, const std::string& type, char width) {
  add_comparison<T, Eq>(forms, "eq", type, width);
  add_comparison<T, Ne>(forms, "ne", type, width);
  if (type[0] == 'b') return;
  add_comparison<T, Lt>(forms, "lt", type, width);
  add_comparison<T, Le>(forms, "le", type, width);
  add_comparison<T, Gt>(forms, "gt", type, width);
  add_comparison<T, Ge>(forms, "ge", type, width);
  if (type[0] != 'u') return;  // older names of the unsigned ones
  add_comparison<T, Lt>(forms, "lo", type, width);
  add_comparison<T, Le>(forms, "ls", type, width);
  add_comparison<T, Gt>(forms, "hi", type, width);
  add_comparison<T, Ge>(forms, "hs", type, width);
}

const Forms& selection_forms() {
  static const Forms made = [] {
    Forms forms;
    add_moves(forms);
    add_comparisons<s16>(forms, "s16", 'h');
    add_comparisons<u16>(forms, "u16", 'h');
    add_comparisons<u16>(forms, "b16", 'h');
    add_comparisons<s32>(forms, "s32", 'w');
    add_comparisons<u32>(forms, "u32", 'w');
    add_comparisons<u32>(forms, "b32", 'w');
    add_comparisons<s64>(forms, "s64", 'l');
    add_comparisons<u64>(forms, "u64", 'l');
    add_comparisons<u64>(forms, "b64", 'l');
    add_comparisons<float>(forms, "f32", 'w');
    add_comparison<float, Unordered<Eq>>(forms, "equ", "f32", 'w');
    add_comparison<float, Unordered<Ne>>(forms, "neu", "f32", 'w');
    add_comparison<float, Unordered<Lt>>(forms, "ltu", "f32", 'w');
    add_comparison<float, Unordered<Le>>(forms, "leu", "f32", 'w');
    add_comparison<float, Unordered<Gt>>(forms, "gtu", "f32", 'w');
    add_comparison<float, Unordered<Ge>>(forms, "geu", "f32", 'w');
    return forms;
  }();
  return made;
}

bool decode_packing(Decoder& d) {  // "mov" with a vector on one side
  const int bits = type_bits(d.opcode);
  if (d.name != "mov" || d.arguments.size() != 2 || (bits != 32 && bits != 64)) return false;
  const bool packs = d.arguments[1][0] == '{', unpacks = d.arguments[0][0] == '{';
  if (!packs && !unpacks) return false;
  const auto& parts = d.vector(packs ? 1 : 0, bits / 2, 2);
  if (packs) {
    d.instruction.handler = bits == 32 ? pack<u16, u32> : pack<u32, u64>;
    for (int part = 0; part < 2; ++part) d.instruction.source[part] = parts[part].slot;
    d.instruction.operands.clear();
    d.instruction.destination = d.slot(0, bits);
  } else {
    d.instruction.handler = bits == 32 ? unpack<u16, u32> : unpack<u32, u64>;
    d.instruction.source[0] = d.slot(1, bits);
  }
  return true;
}

}  // namespace

bool decode_selection(Decoder& d) { return decode_packing(d) || decode_form(d, selection_forms()); }

}  // namespace ptx
