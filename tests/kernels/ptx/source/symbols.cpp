#include "symbols.hpp"

#include <algorithm>
#include <cstdlib>
#include <sstream>

namespace ptx {

std::string trim(const std::string& text) {
  const size_t first = text.find_first_not_of(" \t\r\n"), last = text.find_last_not_of(" \t\r\n");
  return first == std::string::npos ? "" : text.substr(first, last - first + 1);
}

[[noreturn]] static void fail(int line, const std::string& message) {
  throw Error{"line " + std::to_string(line) + ": " + message};
}

void Symbols::open_scope() {
  const int parent = scopes.empty() ? -1 : scopes.back().id;
  scopes.push_back({{}, int(labels.size())});
  labels.emplace_back();
  parents.push_back(parent);
}

void Symbols::close_scope() { scopes.pop_back(); }

// A register holds 32 lanes: 128 bytes, or 256 for 64 bits.
u32 Symbols::allocate(int bits) {
  const u32 bytes = bits == 64 ? 256 : 128;
  kernel.register_bytes = (kernel.register_bytes + bytes - 1) / bytes * bytes + bytes;
  return kernel.register_bytes - bytes;
}

u32 Symbols::constant_slot(int bits, u64 value) {
  if (bits < 64) value &= (1ull << bits) - 1;
  const int stored = bits == 64 ? 64 : 32;
  const auto key = std::make_pair(stored, value);
  const auto found = constants.find(key);
  if (found != constants.end()) return found->second;
  const u32 slot = constants[key] = allocate(stored);
  kernel.constants.push_back({slot, u8(stored), value});
  return slot;
}

u32 Symbols::special_slot(const std::string& name, int bits) {
  const std::string key = name + "/" + std::to_string(bits);
  const auto found = specials.find(key);
  if (found != specials.end()) return found->second;
  const u32 slot = specials[key] = allocate(bits);
  kernel.specials.push_back({slot, u8(bits == 64 ? 64 : 32), name});
  return slot;
}

// "Variables": a name with a number in angle brackets declares that many registers.
void Symbols::declare_registers(const std::string& statement) {
  std::istringstream words(statement);
  std::string directive, type, word, names;
  words >> directive >> type;
  while (words >> word) names += word;
  const bool predicate = type == ".pred";
  const int declared = predicate ? 1 : atoi(type.c_str() + 2);
  if (!predicate && declared != 8 && declared != 16 && declared != 32 && declared != 64) {
    fail(line, "registers of type " + type);
  }
  const u8 bits = u8(predicate ? 1 : std::max(declared, 16));
  const auto declare = [&](const std::string& name) {
    const u32 slot = predicate ? u32(kernel.predicates++) : allocate(bits);
    scopes.back().registers[name] = {predicate, bits, slot};
  };
  std::istringstream list(names);
  while (std::getline(list, word, ',')) {
    const size_t bracket = word.find('<');
    if (bracket == std::string::npos) {
      declare(word);
      continue;
    }
    const int count = atoi(word.c_str() + bracket + 1);
    for (int i = 0; i < count; ++i) declare(word.substr(0, bracket) + std::to_string(i));
  }
}

void Symbols::declare_shared(const std::string& statement) {
  const size_t align_at = statement.find(".align"), bytes_at = statement.find(".b8");
  if (bytes_at == std::string::npos) fail(line, "shared variable: " + statement);
  const u32 align = align_at == std::string::npos ? 1 : u32(atoi(statement.c_str() + align_at + 6));
  const std::string declared = trim(statement.substr(bytes_at + 3));
  const size_t bracket = declared.find('[');
  if (bracket == std::string::npos) fail(line, "shared variable: " + statement);
  const u32 at = (SHARED_BASE + kernel.static_shared_bytes + align - 1) / align * align;
  kernel.shared_symbols[declared.substr(0, bracket)] = at;
  kernel.static_shared_bytes = at + u32(atoi(declared.c_str() + bracket + 1)) - SHARED_BASE;
}

void Symbols::declare_label(const std::string& name) {
  auto& known = labels[scopes.back().id];
  if (!known.emplace(name, int(kernel.code.size())).second) fail(line, "label declared twice: " + name);
}

void Symbols::use_label(const std::string& name) {
  uses.push_back({kernel.code.size(), name, scopes.back().id});
}

void Symbols::resolve_labels() {
  for (const LabelUse& use : uses) {
    int scope = use.scope;
    while (scope >= 0 && !labels[scope].count(use.label)) scope = parents[scope];
    if (scope < 0) fail(kernel.code[use.instruction].line, "no label " + use.label);
    kernel.code[use.instruction].target = labels[scope][use.label];
  }
}

const Symbols::Register* Symbols::find_register(const std::string& name) const {
  for (auto scope = scopes.rbegin(); scope != scopes.rend(); ++scope) {
    const auto found = scope->registers.find(name);
    if (found != scope->registers.end()) return &found->second;
  }
  return nullptr;
}

// "Special Registers".
static bool is_special(const std::string& name) {
  static const char* const known[] = {
      "%tid.x",
      "%tid.y",
      "%tid.z",
      "%ntid.x",
      "%ntid.y",
      "%ntid.z",
      "%ctaid.x",
      "%ctaid.y",
      "%ctaid.z",
      "%nctaid.x",
      "%nctaid.y",
      "%nctaid.z",
      "%laneid",
      "%warpid",
      "%nwarpid",
      "%lanemask_eq",
      "%lanemask_lt",
      "%lanemask_le",
      "%clusterid.x",
      "%nclusterid.x",
      "%cluster_ctaid.x",
      "%cluster_ctaid.y",
      "%cluster_ctaid.z",
      "%cluster_nctaid.x",
      "%cluster_nctaid.y",
      "%cluster_nctaid.z",
      "%cluster_ctarank",
      "%cluster_nctarank",
      "%dynamic_smem_size",
      "%smid",
      "%nsmid",
  };
  return std::find(std::begin(known), std::end(known), name) != std::end(known);
}

Operand Symbols::find(const std::string& raw, int bits) {
  const std::string text = trim(raw);
  Operand operand;
  if (text.empty()) return operand;
  if (text == "_") {
    operand.kind = Operand::Kind::sink;
    return operand;
  }
  if (text[0] == '!') {
    operand = find(text.substr(1), bits);
    operand.negated = true;
    return operand;
  }
  if (const Register* found = find_register(text)) {
    operand.kind = found->predicate ? Operand::Kind::predicate : Operand::Kind::register_;
    operand.bits = found->bits;
    operand.slot = found->slot;
    return operand;
  }
  if (text[0] == '%') {
    if (!is_special(text)) fail(line, "unknown special register " + text);
    operand.kind = Operand::Kind::register_;
    operand.bits = u8(bits);
    operand.slot = special_slot(text, bits);
    return operand;
  }
  return isdigit(text[0]) || text[0] == '-' ? number(text, bits) : symbol(text, bits);
}

// "Constants": 0f and 0d introduce the bits of floating-point numbers.
Operand Symbols::number(const std::string& text, int bits) {
  const std::string prefix = text.substr(0, 2);
  const bool raw_bits = prefix == "0f" || prefix == "0F" || prefix == "0d" || prefix == "0D";
  Operand operand;
  operand.kind = Operand::Kind::constant;
  operand.bits = u8(bits);
  if (raw_bits) {
    operand.value = strtoull(text.c_str() + 2, nullptr, 16);
  } else if (text[0] == '-') {
    operand.value = u64(strtoll(text.c_str(), nullptr, 0));
  } else {
    operand.value = strtoull(text.c_str(), nullptr, 0);
  }
  operand.slot = constant_slot(bits, operand.value);
  return operand;
}

Operand Symbols::symbol(const std::string& name, int bits) {
  Operand operand;
  operand.kind = Operand::Kind::symbol;
  operand.bits = u8(bits);
  if (name == kernel.dynamic_symbol) {  // its address is known at the launch
    operand.slot = special_slot("dynamic shared memory", bits);
    return operand;
  }
  const auto shared = kernel.shared_symbols.find(name);
  if (shared != kernel.shared_symbols.end()) {
    operand.value = shared->second;
  } else {
    const auto& all = kernel.parameters;
    const auto found = std::find_if(all.begin(), all.end(), [&](auto& p) { return p.name == name; });
    if (found == all.end()) return {};
    operand.value = found->offset;
  }
  operand.slot = constant_slot(bits, operand.value);
  return operand;
}

}  // namespace ptx
