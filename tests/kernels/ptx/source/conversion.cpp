// "Data Movement and Conversion Instructions: cvt".
#include <limits>

#include "formats.hpp"
#include "forms.hpp"

namespace ptx {
namespace {

template <class D, class A>
void convert(Warp& w, const Instruction& i, u32 mask) {
  auto* d = w.at<Slot<D>>(i.destination);
  const auto* a = w.at<Slot<A>>(i.source[0]);
  for_lanes(mask, [=](int l) { d[l] = to_slot<D>(D(from_slot<A>(a[l]))); });
}

template <auto F>
void round_float(Warp& w, const Instruction& i, u32 mask) {  // to a format in an integer register
  u32* d = w.at<u32>(i.destination);
  const float* a = w.at<float>(i.source[0]);
  for_lanes(mask, [=](int l) { d[l] = F(a[l]); });
}

template <auto F>
void widen(Warp& w, const Instruction& i, u32 mask) {
  float* d = w.at<float>(i.destination);
  const u32* a = w.at<u32>(i.source[0]);
  for_lanes(mask, [=](int l) { d[l] = F(u16(a[l])); });
}

/// Two numbers in one register: a in the upper half, b in the lower.
template <auto F, int BITS>
void round_pair(Warp& w, const Instruction& i, u32 mask) {
  u32* d = w.at<u32>(i.destination);
  const float *a = w.at<float>(i.source[0]), *b = w.at<float>(i.source[1]);
  for_lanes(mask, [=](int l) { d[l] = u32(F(a[l])) << BITS | F(b[l]); });
}

template <auto F>
void widen_pair(Warp& w, const Instruction& i, u32 mask) {  // two fp8 numbers to two fp16 numbers, exactly
  u32* d = w.at<u32>(i.destination);
  const u32* a = w.at<u32>(i.source[0]);
  for_lanes(mask,
            [=](int l) { d[l] = float_to_half(F(u8(a[l]))) | u32(float_to_half(F(u8(a[l] >> 8)))) << 16; });
}

/// ".rzi": towards zero, out of range to the nearest integer of the type, NaN to zero.
template <class D>
void truncate(Warp& w, const Instruction& i, u32 mask) {
  auto* d = w.at<Slot<D>>(i.destination);
  const float* a = w.at<float>(i.source[0]);
  for_lanes(mask, [=](int l) {
    const double low = double(std::numeric_limits<D>::min()), high = double(std::numeric_limits<D>::max());
    d[l] = std::isnan(a[l]) ? 0 : to_slot<D>(D(std::min(std::max(std::trunc(double(a[l])), low), high)));
  });
}

template <class D>
void add_integer_row(Forms& forms, const std::string& type) {
  const std::string to = sizeof(D) == 2 ? "h" : sizeof(D) == 4 ? "w" : "l";
  const std::string start = "cvt." + type + ".";
  forms[start + "u16"] = {convert<D, u16>, to + "h"};
  forms[start + "s16"] = {convert<D, s16>, to + "h"};
  forms[start + "u32"] = {convert<D, u32>, to + "w"};
  forms[start + "s32"] = {convert<D, s32>, to + "w"};
  forms[start + "u64"] = {convert<D, u64>, to + "l"};
  forms[start + "s64"] = {convert<D, s64>, to + "l"};
}

const Forms& conversion_forms() {
  static const Forms made = [] {
    Forms forms = {
        {"cvt.f32.f16", {widen<half_to_float>, "wh"}},
        {"cvt.f32.bf16", {widen<brain_to_float>, "wh"}},
        {"cvt.rn.f16.f32", {round_float<float_to_half>, "hw"}},
        {"cvt.rn.bf16.f32", {round_float<float_to_brain>, "hw"}},
        {"cvt.rna.tf32.f32", {round_float<float_to_tf32>, "ww"}},
        {"cvt.rn.f16x2.f32", {round_pair<float_to_half, 16>, "www"}},
        {"cvt.rn.bf16x2.f32", {round_pair<float_to_brain, 16>, "www"}},
        {"cvt.rn.satfinite.e4m3x2.f32", {round_pair<float_to_e4m3, 8>, "hww"}},
        {"cvt.rn.satfinite.e5m2x2.f32", {round_pair<float_to_e5m2, 8>, "hww"}},
        {"cvt.rn.f16x2.e4m3x2", {widen_pair<e4m3_to_float>, "wh"}},
        {"cvt.rn.f16x2.e5m2x2", {widen_pair<e5m2_to_float>, "wh"}},
        {"cvt.rn.f32.s32", {convert<float, s32>, "ww"}},
        {"cvt.rn.f32.u32", {convert<float, u32>, "ww"}},
        {"cvt.rn.f32.s64", {convert<float, s64>, "wl"}},
        {"cvt.rn.f32.u64", {convert<float, u64>, "wl"}},
        {"cvt.rzi.s32.f32", {truncate<s32>, "ww"}},
        {"cvt.rzi.u32.f32", {truncate<u32>, "ww"}},
    };
    add_integer_row<u16>(forms, "u16");
    add_integer_row<s16>(forms, "s16");
    add_integer_row<u32>(forms, "u32");
    add_integer_row<s32>(forms, "s32");
    add_integer_row<u64>(forms, "u64");
    add_integer_row<s64>(forms, "s64");
    return forms;
  }();
  return made;
}

}  // namespace

bool decode_conversion(Decoder& d) { return decode_form(d, conversion_forms()); }

}  // namespace ptx
