// "Integer Arithmetic Instructions", "Floating Point Instructions", "Logic and Shift Instructions".
#include <cmath>
#include <type_traits>

#include "forms.hpp"

namespace ptx {
namespace {

// ---- handlers over all lanes -----------------------------------------------------------------

template <class T, class W>
void multiply_wide(Warp& w, const Instruction& i, u32 mask) {
  auto* d = w.at<Slot<W>>(i.destination);
  const u32 *a = w.at<u32>(i.source[0]), *b = w.at<u32>(i.source[1]);
  for_lanes(mask, [=](int l) { d[l] = to_slot<W>(W(from_slot<T>(a[l])) * W(from_slot<T>(b[l]))); });
}

template <class T, class W>
void multiply_add_wide(Warp& w, const Instruction& i, u32 mask) {
  auto* d = w.at<u64>(i.destination);
  const u32 *a = w.at<u32>(i.source[0]), *b = w.at<u32>(i.source[1]);
  const u64* c = w.at<u64>(i.source[2]);
  for_lanes(mask, [=](int l) { d[l] = u64(W(from_slot<T>(a[l])) * W(from_slot<T>(b[l]))) + c[l]; });
}

struct Add {
  template <class T>
  static T f(T a, T b) {
    return a + b;
  }
};
struct Sub {
  template <class T>
  static T f(T a, T b) {
    return a - b;
  }
};
struct Mul {
  template <class T>
  static T f(T a, T b) {
    return a * b;
  }
};
struct MulHi {
  static s32 f(s32 a, s32 b) { return s32(s64(a) * b >> 32); }
  static u32 f(u32 a, u32 b) { return u32(u64(a) * b >> 32); }
  static s64 f(s64 a, s64 b) { return s64(s128(a) * b >> 64); }
  static u64 f(u64 a, u64 b) { return u64(u128(a) * b >> 64); }
};
struct MadLo {
  template <class T>
  static T f(T a, T b, T c) {
    return a * b + c;
  }
};
// Division by zero is unspecified; all ones here.
struct Div {
  template <class T>
  static T f(T a, T b) {
    if (b == 0) return T(-1);
    return std::is_signed_v<T> && b == T(-1) ? T(0) - a : T(a / b);
  }
};
struct Rem {
  template <class T>
  static T f(T a, T b) {
    if (b == 0) return a;
    return std::is_signed_v<T> && b == T(-1) ? T(0) : T(a % b);
  }
};
struct Min {
  template <class T>
  static T f(T a, T b) {
    return a < b ? a : b;
  }
};
struct Max {
  template <class T>
  static T f(T a, T b) {
    return a < b ? b : a;
  }
};
struct Abs {
  template <class T>
  static T f(T a) {
    return a < 0 ? T(0) - a : a;
  }
};
struct Neg {
  template <class T>
  static T f(T a) {
    return T(0) - a;
  }
};
struct And {
  template <class T>
  static T f(T a, T b) {
    return a & b;
  }
};
struct Or {
  template <class T>
  static T f(T a, T b) {
    return a | b;
  }
};
struct Xor {
  template <class T>
  static T f(T a, T b) {
    return a ^ b;
  }
};
struct Not {
  template <class T>
  static T f(T a) {
    return T(~a);
  }
};
struct NegFloat {
  template <class T>
  static T f(T a) {
    return -a;
  }
};
struct AbsFloat {
  static float f(float a) { return std::fabs(a); }
};
struct MinFloat {
  static float f(float a, float b) { return std::fmin(a, b); }
};
struct MaxFloat {
  static float f(float a, float b) { return std::fmax(a, b); }
};
struct DivFloat {
  static float f(float a, float b) { return a / b; }
};
struct SqrtFloat {
  static float f(float a) { return std::sqrt(a); }
};
struct Fma {
  template <class T>
  static T f(T a, T b, T c) {
    return std::fma(a, b, c);
  }
};
struct Popc {
  static u32 f(u32 a) { return u32(__builtin_popcount(a)); }
};
struct Clz {
  static u32 f(u32 a) { return a ? u32(__builtin_clz(a)) : 32; }
};
struct Brev {
  static u32 f(u32 a) {
    u32 reversed = 0;
    for (int bit = 0; bit < 32; ++bit) reversed |= (a >> bit & 1) << (31 - bit);
    return reversed;
  }
};

// "shl", "shr": a count of the width or more shifts everything out.
template <class T>
void shift_left(Warp& w, const Instruction& i, u32 mask) {
  auto* d = w.at<Slot<T>>(i.destination);
  const auto* a = w.at<Slot<T>>(i.source[0]);
  const u32* count = w.at<u32>(i.source[1]);
  for_lanes(mask, [=](int l) {
    d[l] = count[l] >= 8 * sizeof(T) ? 0 : to_slot<T>(T(from_slot<T>(a[l]) << count[l]));
  });
}
template <class T>
void shift_right(Warp& w, const Instruction& i, u32 mask) {
  auto* d = w.at<Slot<T>>(i.destination);
  const auto* a = w.at<Slot<T>>(i.source[0]);
  const u32* count = w.at<u32>(i.source[1]);
  for_lanes(mask, [=](int l) {
    const T value = from_slot<T>(a[l]);
    const T emptied = std::is_signed_v<T> && value < 0 ? T(-1) : T(0);
    d[l] = to_slot<T>(count[l] >= 8 * sizeof(T) ? emptied : T(value >> count[l]));
  });
}

// "bfi": b with the low `length` bits of a inserted at `position`; "bfe" is the reverse.
void insert_bits(Warp& w, const Instruction& i, u32 mask) {
  u32* d = w.at<u32>(i.destination);
  const u32 *a = w.at<u32>(i.source[0]), *b = w.at<u32>(i.source[1]);
  const u32 *position = w.at<u32>(i.source[2]), *length = w.at<u32>(i.source[3]);
  for_lanes(mask, [=](int l) {
    const u64 at = position[l] & 0xff, count = length[l] & 0xff;
    const u32 field = at >= 32 ? 0 : u32(((count >= 32 ? 1ull << 32 : 1ull << count) - 1) << at);
    d[l] = (b[l] & ~field) | (at >= 32 ? 0 : (a[l] << at & field));
  });
}
void extract_bits(Warp& w, const Instruction& i, u32 mask) {
  u32* d = w.at<u32>(i.destination);
  const u32 *a = w.at<u32>(i.source[0]), *position = w.at<u32>(i.source[1]), *length = w.at<u32>(i.source[2]);
  for_lanes(mask, [=](int l) {
    const u32 at = position[l] & 0xff, count = length[l] & 0xff;
    const u32 moved = at >= 32 ? 0 : a[l] >> at;
    d[l] = count >= 32 ? moved : moved & ((1u << count) - 1);
  });
}

// "lop3": bit by bit, the entry of the table at (a, b, c).
void logic3(Warp& w, const Instruction& i, u32 mask) {
  u32* d = w.at<u32>(i.destination);
  const u32 *a = w.at<u32>(i.source[0]), *b = w.at<u32>(i.source[1]), *c = w.at<u32>(i.source[2]);
  const u32* table = w.at<u32>(i.source[3]);
  for_lanes(mask, [=](int l) {
    u32 result = 0;
    for (u32 entry = 0; entry < 8; ++entry) {
      if (!(table[l] >> entry & 1)) continue;
      result |= (entry & 4 ? a[l] : ~a[l]) & (entry & 2 ? b[l] : ~b[l]) & (entry & 1 ? c[l] : ~c[l]);
    }
    d[l] = result;
  });
}

// "prmt": each nibble of the selector picks one of the eight bytes of {b, a}; its high bit replicates the
// sign.
void permute_bytes(Warp& w, const Instruction& i, u32 mask) {
  u32* d = w.at<u32>(i.destination);
  const u32 *a = w.at<u32>(i.source[0]), *b = w.at<u32>(i.source[1]), *selector = w.at<u32>(i.source[2]);
  for_lanes(mask, [=](int l) {
    const u64 bytes = a[l] | u64(b[l]) << 32;
    u32 result = 0;
    for (int n = 0; n < 4; ++n) {
      const u32 nibble = selector[l] >> 4 * n & 15;
      const u32 byte = bytes >> 8 * (nibble & 7) & 0xff;
      result |= (nibble & 8 ? (byte & 0x80 ? 0xff : 0) : byte) << 8 * n;
    }
    d[l] = result;
  });
}

// ---- table of opcodes ------------------------------------------------------------------------

void add_wrapping(Forms& forms) {  // the same for signed and unsigned numbers
  const auto add = [&](const std::string& name, const std::string& types, Handler h, Handler w, Handler l) {
    for (const char type : types) {
      const std::string opcode = name + type;
      forms[opcode + "16"] = {h, "hhh"};
      forms[opcode + "32"] = {w, "www"};
      forms[opcode + "64"] = {l, "lll"};
    }
  };
  add("add.", "us", binary<u16, Add>, binary<u32, Add>, binary<u64, Add>);
  add("sub.", "us", binary<u16, Sub>, binary<u32, Sub>, binary<u64, Sub>);
  add("mul.lo.", "us", binary<u16, Mul>, binary<u32, Mul>, binary<u64, Mul>);
  add("and.", "b", binary<u16, And>, binary<u32, And>, binary<u64, And>);
  add("or.", "b", binary<u16, Or>, binary<u32, Or>, binary<u64, Or>);
  add("xor.", "b", binary<u16, Xor>, binary<u32, Xor>, binary<u64, Xor>);
  for (const char type : std::string("us")) {
    const std::string suffix = std::string(1, type);
    forms["mad.lo." + suffix + "32"] = {ternary<u32, MadLo>, "wwww"};
    forms["mad.lo." + suffix + "64"] = {ternary<u64, MadLo>, "llll"};
  }
  forms["shl.b16"] = {shift_left<u16>, "hhw"};
  forms["shl.b32"] = {shift_left<u32>, "www"};
  forms["shl.b64"] = {shift_left<u64>, "llw"};
  forms["not.b16"] = {unary<u16, Not>, "hh"};
  forms["not.b32"] = {unary<u32, Not>, "ww"};
  forms["not.b64"] = {unary<u64, Not>, "ll"};
  forms["neg.s16"] = {unary<u16, Neg>, "hh"};
  forms["neg.s32"] = {unary<u32, Neg>, "ww"};
  forms["neg.s64"] = {unary<u64, Neg>, "ll"};
}

template <class T>
void add_signed(Forms& forms, const std::string& type, char width) {
  const std::string three(3, width);
  forms["div." + type] = {binary<T, Div>, three};
  forms["rem." + type] = {binary<T, Rem>, three};
  forms["min." + type] = {binary<T, Min>, three};
  forms["max." + type] = {binary<T, Max>, three};
  forms["shr." + type] = {shift_right<T>, std::string(2, width) + "w"};
  if constexpr (sizeof(T) > 2) forms["mul.hi." + type] = {binary<T, MulHi>, three};
  if constexpr (std::is_signed_v<T>) forms["abs." + type] = {unary<T, Abs>, std::string(2, width)};
}

void add_float_and_bits(Forms& forms) {
  for (const std::string rounding : {"", ".rn"}) {
    forms["add" + rounding + ".f32"] = {binary<float, Add>, "www"};
    forms["sub" + rounding + ".f32"] = {binary<float, Sub>, "www"};
    forms["mul" + rounding + ".f32"] = {binary<float, Mul>, "www"};
    forms["add" + rounding + ".f64"] = {binary<double, Add>, "lll"};
    forms["sub" + rounding + ".f64"] = {binary<double, Sub>, "lll"};
    forms["mul" + rounding + ".f64"] = {binary<double, Mul>, "lll"};
  }
  forms["fma.rn.f32"] = {ternary<float, Fma>, "wwww"};
  forms["fma.rn.f64"] = {ternary<double, Fma>, "llll"};
  forms["neg.f64"] = {unary<double, NegFloat>, "ll"};
  forms["div.rn.f32"] = {binary<float, DivFloat>, "www"};
  forms["sqrt.rn.f32"] = {unary<float, SqrtFloat>, "ww"};
  forms["min.f32"] = {binary<float, MinFloat>, "www"};
  forms["max.f32"] = {binary<float, MaxFloat>, "www"};
  forms["neg.f32"] = {unary<float, NegFloat>, "ww"};
  forms["abs.f32"] = {unary<float, AbsFloat>, "ww"};
  forms["mul.wide.s32"] = {multiply_wide<s32, s64>, "lww"};
  forms["mul.wide.u32"] = {multiply_wide<u32, u64>, "lww"};
  forms["mul.wide.s16"] = {multiply_wide<s16, s32>, "whh"};
  forms["mul.wide.u16"] = {multiply_wide<u16, u32>, "whh"};
  forms["mad.wide.s32"] = {multiply_add_wide<s32, s64>, "lwwl"};
  forms["mad.wide.u32"] = {multiply_add_wide<u32, u64>, "lwwl"};
  forms["bfi.b32"] = {insert_bits, "wwwww"};
  forms["bfe.u32"] = {extract_bits, "wwww"};
  forms["lop3.b32"] = {logic3, "wwwww"};
  forms["prmt.b32"] = {permute_bytes, "wwww"};
  forms["popc.b32"] = {unary<u32, Popc>, "ww"};
  forms["clz.b32"] = {unary<u32, Clz>, "ww"};
  forms["brev.b32"] = {unary<u32, Brev>, "ww"};
}

template <class U, class S>
void add_integers(Forms& forms, const std::string& bits, char width) {
  add_signed<S>(forms, "s" + bits, width);
  add_signed<U>(forms, "u" + bits, width);
  forms["shr.b" + bits] = {shift_right<U>, std::string(2, width) + "w"};
}

const Forms& arithmetic_forms() {
  static const Forms made = [] {
    Forms forms;
    add_wrapping(forms);
    add_integers<u16, s16>(forms, "16", 'h');
    add_integers<u32, s32>(forms, "32", 'w');
    add_integers<u64, s64>(forms, "64", 'l');
    add_float_and_bits(forms);
    return forms;
  }();
  return made;
}

}  // namespace

bool decode_arithmetic(Decoder& d) { return decode_form(d, arithmetic_forms()); }

}  // namespace ptx
