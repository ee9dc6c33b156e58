#include "forms.hpp"

namespace ptx {

bool decode_form(Decoder& d, const Forms& forms) {
  const auto found = forms.find(d.opcode);
  if (found == forms.end()) return false;
  const Form& form = found->second;
  Instruction& it = d.instruction;
  if (d.arguments.size() != form.operands.size()) d.unknown();
  it.handler = form.handler;
  it.combine = form.combine;
  it.flag = form.flag;
  int sources = 0, predicates = 0;
  for (size_t n = 0; n < form.operands.size(); ++n) {
    const char kind = form.operands[n];
    const int bits = kind == 'h' ? 16 : kind == 'w' ? 32 : 64;
    if (kind == 'P') {
      it.predicate_out = d.predicate(n);
    } else if (kind == 'p') {
      it.predicate_in[predicates++] = d.predicate_or_constant(n);
    } else if (n == 0) {
      it.destination = d.slot(n, bits);
    } else {
      it.source[sources++] = d.slot(n, bits);
    }
  }
  const bool negatable = it.combine != Combine::none && d.name == "setp";
  if (it.predicate_in_negated && !negatable) d.unknown();
  return true;
}

}  // namespace ptx
