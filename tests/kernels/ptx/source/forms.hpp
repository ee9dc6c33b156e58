// Tables of opcodes whose operands are registers and predicates alone.
#pragma once

#include <unordered_map>

#include "decoder.hpp"
#include "lanes.hpp"

namespace ptx {

/// Operands by letter: h, w, l are registers of 16, 32 and 64 bits, the first the destination; P and p are
/// predicates written and read.
struct Form {
  Handler handler;
  std::string operands;
  Combine combine = Combine::none;
  bool flag = false;
};
using Forms = std::unordered_map<std::string, Form>;

/// Decodes the operands of an opcode of the table; false for any other opcode.
bool decode_form(Decoder& decoder, const Forms& forms);

/// d = f(a) in the lanes of the mask, for registers that hold a T.
template <class T, class F>
void unary(Warp& w, const Instruction& i, u32 mask) {
  auto* d = w.at<Slot<T>>(i.destination);
  const auto* a = w.at<Slot<T>>(i.source[0]);
  for_lanes(mask, [=](int l) { d[l] = to_slot<T>(F::f(from_slot<T>(a[l]))); });
}

/// d = f(a, b).
template <class T, class F>
void binary(Warp& w, const Instruction& i, u32 mask) {
  auto* d = w.at<Slot<T>>(i.destination);
  const auto *a = w.at<Slot<T>>(i.source[0]), *b = w.at<Slot<T>>(i.source[1]);
  for_lanes(mask, [=](int l) { d[l] = to_slot<T>(F::f(from_slot<T>(a[l]), from_slot<T>(b[l]))); });
}

/// d = f(a, b, c).
template <class T, class F>
void ternary(Warp& w, const Instruction& i, u32 mask) {
  auto* d = w.at<Slot<T>>(i.destination);
  const auto *a = w.at<Slot<T>>(i.source[0]), *b = w.at<Slot<T>>(i.source[1]),
             *c = w.at<Slot<T>>(i.source[2]);
  for_lanes(mask, [=](int l) {
    d[l] = to_slot<T>(F::f(from_slot<T>(a[l]), from_slot<T>(b[l]), from_slot<T>(c[l])));
  });
}

}  // namespace ptx
