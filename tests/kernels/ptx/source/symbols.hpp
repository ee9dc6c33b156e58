// Names of a kernel: registers in nested scopes, labels, shared variables, parameters, special registers.
#pragma once

#include "program.hpp"

namespace ptx {

std::string trim(const std::string& text);

class Symbols {
 public:
  explicit Symbols(Kernel& kernel) : kernel(kernel) { kernel.register_bytes = 2 * 128; }

  Kernel& kernel;
  int line = 0;

  void open_scope();
  void close_scope();
  bool outside() const { return scopes.empty(); }

  /// `.reg .b32 %r<9>`.
  void declare_registers(const std::string& statement);
  /// `.shared .align 8 .b8 name[16]`.
  void declare_shared(const std::string& statement);
  void declare_label(const std::string& name);
  /// The target of the next instruction, filled in by `resolve_labels`.
  void use_label(const std::string& name);
  void resolve_labels();

  /// An operand without brackets; `bits` is the width of a constant. Kind `none` for an unknown name.
  Operand find(const std::string& text, int bits);

 private:
  struct Register {
    bool predicate;
    u8 bits;
    u32 slot;
  };
  struct Scope {
    std::map<std::string, Register> registers;
    int id;
  };
  struct LabelUse {
    size_t instruction;
    std::string label;
    int scope;
  };

  u32 allocate(int bits);
  u32 constant_slot(int bits, u64 value);
  u32 special_slot(const std::string& name, int bits);
  const Register* find_register(const std::string& name) const;
  Operand number(const std::string& text, int bits);
  Operand symbol(const std::string& name, int bits);

  std::vector<Scope> scopes;
  std::vector<std::map<std::string, int>> labels;  // by scope
  std::vector<int> parents;
  std::vector<LabelUse> uses;
  std::map<std::pair<int, u64>, u32> constants;
  std::map<std::string, u32> specials;
};

}  // namespace ptx
