#include "decoder.hpp"

#include <algorithm>
#include <cstdlib>

namespace ptx {

std::vector<std::string> split_operands(const std::string& text) {
  std::vector<std::string> parts;
  std::string part;
  int depth = 0;
  for (const char c : text) {
    depth += (c == '{' || c == '[') - (c == '}' || c == ']');
    if (c == ',' && depth == 0) {
      parts.push_back(trim(part));
      part.clear();
    } else {
      part += c;
    }
  }
  if (!trim(part).empty()) parts.push_back(trim(part));
  return parts;
}

int type_bits(const std::string& type) {
  const size_t digit = type.find_first_of("0123456789");
  return digit == std::string::npos ? 0 : atoi(type.c_str() + digit);
}

Decoder::Decoder(Symbols& symbols, Instruction& instruction, const std::string& statement)
    : symbols(symbols), instruction(instruction) {
  const size_t end = statement.find_first_of(" \t\n");
  opcode = statement.substr(0, end);
  if (end != std::string::npos) arguments = split_operands(trim(statement.substr(end)));
  for (size_t at = 0; at <= opcode.size();) {
    const size_t dot = std::min(opcode.find('.', at), opcode.size());
    modifiers.push_back(opcode.substr(at, dot - at));
    at = dot + 1;
  }
  name = modifiers[0];
  modifiers.erase(modifiers.begin());
}

void Decoder::unknown() const {
  throw Error{"line " + std::to_string(instruction.line) + ": unknown opcode or operands: " + opcode +
              " in kernel " + symbols.kernel.name + " [" + instruction.text + "]"};
}

bool Decoder::take(const std::string& modifier) {
  const auto found = std::find(modifiers.begin(), modifiers.end(), modifier);
  if (found == modifiers.end()) return false;
  modifiers.erase(found);
  return true;
}

void Decoder::require(const std::string& modifier) {
  if (!take(modifier)) unknown();
}

std::string Decoder::take_next() {
  if (modifiers.empty()) return "";
  const std::string next = modifiers.front();
  modifiers.erase(modifiers.begin());
  return next;
}

void Decoder::finish(size_t operands) {
  if (!modifiers.empty() || arguments.size() != operands) unknown();
}

Operand Decoder::value(size_t argument, int bits) {
  if (argument >= arguments.size()) unknown();
  const Operand found = symbols.find(arguments[argument], bits);
  if (found.kind == Operand::Kind::none) unknown();
  return found;
}

u32 Decoder::slot(size_t argument, int bits) {
  const Operand found = value(argument, bits);
  if (found.kind == Operand::Kind::predicate || found.kind == Operand::Kind::sink) unknown();
  if (found.bits != bits) {
    throw Error{"line " + std::to_string(instruction.line) + ": operand of " + std::to_string(found.bits) +
                " bits: " + instruction.text};
  }
  return found.slot;
}

int Decoder::predicate(size_t argument) {
  const Operand found = value(argument, 32);
  if (found.kind != Operand::Kind::predicate || found.negated) unknown();
  return int(found.slot);
}

int Decoder::predicate_or_constant(size_t argument) {
  const Operand found = value(argument, 32);
  if (found.kind == Operand::Kind::constant) return found.value ? -2 : -3;
  if (found.kind != Operand::Kind::predicate) unknown();
  instruction.predicate_in_negated = found.negated;
  return int(found.slot);
}

std::vector<Operand> Decoder::list(const std::string& text, int bits) {
  std::vector<Operand> found;
  if (text[0] == '{') {
    for (const auto& part : split_operands(text.substr(1, text.size() - 2))) {
      found.push_back(symbols.find(part, bits));
    }
  } else {
    found.push_back(symbols.find(text, bits));
  }
  for (const Operand& operand : found) {
    if (operand.kind == Operand::Kind::none || operand.kind == Operand::Kind::predicate) unknown();
  }
  return found;
}

const std::vector<Operand>& Decoder::vector(size_t argument, int bits, size_t count) {
  if (argument >= arguments.size()) unknown();
  instruction.operands.push_back(list(arguments[argument], bits));
  if (instruction.operands.back().size() != count) unknown();
  return instruction.operands.back();
}

const Operand& Decoder::address(size_t argument, int bits, s64& offset) {
  if (argument >= arguments.size() || arguments[argument][0] != '[') unknown();
  const std::string inside = trim(arguments[argument].substr(1, arguments[argument].size() - 2));
  const size_t sign = inside.find_first_of("+-");
  offset = sign == std::string::npos ? 0 : strtoll(inside.c_str() + sign + (inside[sign] == '+'), nullptr, 0);
  const Operand found = symbols.find(sign == std::string::npos ? inside : inside.substr(0, sign), bits);
  if (found.kind == Operand::Kind::none || found.kind == Operand::Kind::predicate) unknown();
  instruction.operands.push_back({found});
  return instruction.operands.back()[0];
}

u64 Decoder::constant(size_t argument) {
  const Operand found = value(argument, 64);
  if (found.kind != Operand::Kind::constant) unknown();
  return found.value;
}

}  // namespace ptx
