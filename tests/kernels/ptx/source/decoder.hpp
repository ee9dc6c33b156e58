// Turns one statement into an instruction: each file with handlers recognises its own opcodes.
#pragma once

#include <string>
#include <vector>

#include "symbols.hpp"

namespace ptx {

/// The parts of a statement. The modifiers of an opcode are taken one by one; one that is left over at
/// `finish` makes the opcode unknown.
class Decoder {
 public:
  Decoder(Symbols& symbols, Instruction& instruction, const std::string& statement);

  Symbols& symbols;
  Instruction& instruction;
  std::string opcode;  // whole
  std::string name;    // up to the first dot
  std::vector<std::string> arguments;

  /// Whether the opcode has this modifier, which counts as handled from then on.
  bool take(const std::string& modifier);
  void require(const std::string& modifier);
  /// The first modifier that is left, handled from then on; empty if none is.
  std::string take_next();
  /// Throws unless all modifiers were handled and there are so many operands.
  void finish(size_t operands);

  u32 slot(size_t argument, int bits);
  int predicate(size_t argument);
  /// -2 and -3 stand for the constants true and false.
  int predicate_or_constant(size_t argument);
  Operand value(size_t argument, int bits);
  /// A register or a list of registers in braces, appended to the operands of the instruction.
  const std::vector<Operand>& vector(size_t argument, int bits, size_t count);
  std::vector<Operand> list(const std::string& text, int bits);
  /// `[register + constant]`, appended to the operands; the constant goes to `offset`.
  const Operand& address(size_t argument, int bits, s64& offset);
  u64 constant(size_t argument);
  [[noreturn]] void unknown() const;

 private:
  std::vector<std::string> modifiers;
};

/// Parts between commas, outside braces and brackets.
std::vector<std::string> split_operands(const std::string& text);
/// The number at the end of a type such as `b32`; 0 without one.
int type_bits(const std::string& type);

// Each returns false for an opcode that belongs to another file.
bool decode_arithmetic(Decoder& decoder);
bool decode_selection(Decoder& decoder);
bool decode_conversion(Decoder& decoder);
bool decode_control(Decoder& decoder);
bool decode_warp(Decoder& decoder);
bool decode_memory(Decoder& decoder);
bool decode_mbarrier(Decoder& decoder);
bool decode_barriers(Decoder& decoder);
bool decode_copies(Decoder& decoder);
bool decode_bulk_copies(Decoder& decoder);
bool decode_tensor_cores(Decoder& decoder);
bool decode_warpgroup(Decoder& decoder);

}  // namespace ptx
