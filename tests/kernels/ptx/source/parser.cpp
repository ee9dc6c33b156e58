// From text to a module ("Syntax", "Directives"): directives outside bodies, statements inside.
#include <cstdlib>
#include <sstream>

#include "decoder.hpp"

namespace ptx {
namespace {

class Parser {
 public:
  Parser(Module& module, const std::string& source) : module(module) {
    std::istringstream lines(source);
    for (std::string line; std::getline(lines, line);) {
      text += line.substr(0, line.find("//"));
      text += '\n';
    }
  }

  void parse() {
    while (skip_spaces()) {
      if (text[at] == '{') {
        ++at;
        body();
      } else {
        directive();
      }
    }
  }

 private:
  Module& module;
  std::string text;
  size_t at = 0;
  int line = 1;
  Kernel* kernel = nullptr;
  std::string dynamic_symbol;
  u32 dynamic_align = 16;
  std::vector<std::string> module_shared;

  [[noreturn]] void fail(const std::string& message) {
    throw Error{"line " + std::to_string(line) + ": " + message};
  }

  bool skip_spaces() {
    for (; at < text.size() && isspace(text[at]); ++at) line += text[at] == '\n';
    return at < text.size();
  }

  /// The text up to one of these characters, which is skipped as well.
  std::string take_until(const char* ends) {
    const size_t end = text.find_first_of(ends, at);
    if (end == std::string::npos) fail("unfinished: " + trim(text.substr(at, 80)));
    const std::string taken = text.substr(at, end - at);
    for (const char c : taken) line += c == '\n';
    line += text[end] == '\n';
    at = end + 1;
    return trim(taken);
  }

  bool starts_with(const char* prefix) const { return text.compare(at, strlen(prefix), prefix) == 0; }

  void directive() {
    const size_t end = text.find_first_of(" \t\n(", at);
    const std::string word = text.substr(at, end - at);
    if (word == ".version" || word == ".address_size") {
      take_until("\n");
    } else if (word == ".target") {
      module.target = trim(take_until("\n").substr(7));
    } else if (starts_with(".extern .shared")) {
      extern_shared(take_until(";"));
    } else if (word == ".shared") {
      module_shared.push_back(take_until(";"));
    } else if (starts_with(".visible .entry")) {
      entry();
    } else {
      performance_directive(word);
    }
  }

  void extern_shared(const std::string& statement) {
    dynamic_align = u32(atoi(statement.c_str() + statement.find(".align") + 6));
    const std::string declared = trim(statement.substr(statement.find(".b8") + 3));
    dynamic_symbol = declared.substr(0, declared.find('['));
  }

  void entry() {
    const std::string name = trim(take_until("(").substr(strlen(".visible .entry")));
    kernel = &module.kernels[name];
    *kernel = Kernel{};
    kernel->name = name;
    kernel->dynamic_symbol = dynamic_symbol;
    kernel->dynamic_align = dynamic_align;
    std::istringstream list(take_until(")"));
    for (std::string declared; std::getline(list, declared, ',');) {
      if (!trim(declared).empty()) parameter(trim(declared));
    }
  }

  // "Kernel Function Parameters".
  void parameter(const std::string& declared) {
    std::istringstream words(declared);
    std::string word, name;
    u32 align = 0, bytes = 0;
    while (words >> word) {
      if (word == ".param") continue;
      if (word == ".align") {
        words >> align;
      } else if (word[0] == '.') {
        bytes = u32(type_bits(word)) / 8;
      } else {
        name += word;
      }
    }
    if (align == 0) align = bytes;
    const size_t bracket = name.find('[');
    if (bracket != std::string::npos) bytes *= u32(atoi(name.c_str() + bracket + 1));
    const u32 offset = (kernel->parameter_bytes + align - 1) / align * align;
    kernel->parameters.push_back({name.substr(0, bracket), offset, bytes});
    kernel->parameter_bytes = offset + bytes;
  }

  // "Performance-Tuning Directives", "Cluster Dimension Directives".
  void performance_directive(const std::string& word) {
    if (!kernel) fail("unknown directive " + trim(text.substr(at, 80)));
    if (word == ".explicitcluster") {
      at += word.size();
      return;
    }
    const int number = atoi(take_until("\n").c_str() + word.size());
    if (word == ".maxntid" || word == ".reqntid") {
      kernel->max_threads = number;
    } else if (word == ".minnctapersm") {
      kernel->min_blocks = number;
    } else if (word == ".reqnctapercluster") {
      kernel->cluster_blocks = u32(number);
    } else if (word != ".maxnreg" && word != ".maxclusterrank") {
      fail("unknown directive " + word);
    }
  }

  bool at_label() const {
    size_t end = at;
    while (end < text.size() && (isalnum(text[end]) || strchr("_$%", text[end]))) ++end;
    return end > at && end + 1 < text.size() && text[end] == ':' && text[end + 1] != ':';
  }

  void body() {
    Symbols symbols(*kernel);
    for (const auto& declared : module_shared) symbols.declare_shared(declared);
    symbols.open_scope();
    while (!symbols.outside()) {
      if (!skip_spaces()) fail("the text ends in a body");
      symbols.line = line;
      if (text[at] == '{') {
        ++at;
        symbols.open_scope();
      } else if (text[at] == '}') {
        ++at;
        symbols.close_scope();
      } else if (at_label()) {
        symbols.declare_label(take_until(":"));
      } else {
        statement(symbols);
      }
    }
    Instruction end;
    end.flow = Flow::exit;
    end.line = line;
    end.text = "end of the body";
    kernel->code.push_back(end);
    symbols.resolve_labels();
    if (kernel->has_wgmma) list_touches();
  }

  void statement(Symbols& symbols) {
    Instruction instruction;
    instruction.line = line;
    std::string rest = take_until(";");
    if (rest.empty() || rest.rfind(".pragma", 0) == 0) return;
    if (rest.rfind(".reg", 0) == 0) return symbols.declare_registers(rest);
    if (rest.rfind(".shared", 0) == 0) return symbols.declare_shared(rest);
    if (rest[0] == '.') fail("unknown directive in a body: " + rest);
    instruction.text = rest.substr(0, 140);
    if (rest[0] == '@') rest = guard(symbols, instruction, rest);
    Decoder decoder(symbols, instruction, rest);
    static constexpr decltype(&decode_memory) all[] = {
        decode_control, decode_arithmetic,  decode_selection,    decode_conversion,
        decode_warp,    decode_memory,      decode_mbarrier,     decode_barriers,
        decode_copies,  decode_bulk_copies, decode_tensor_cores, decode_warpgroup};
    for (const auto decode : all) {
      if (decode(decoder)) {
        kernel->code.push_back(std::move(instruction));
        return;
      }
    }
    decoder.unknown();
  }

  // "Predicated Execution": @p or @!p; what follows is returned.
  std::string guard(Symbols& symbols, Instruction& instruction, const std::string& statement) {
    const size_t end = statement.find_first_of(" \t\n");
    const Operand found = symbols.find(statement.substr(1, end - 1), 32);
    if (found.kind != Operand::Kind::predicate) fail("guard is no predicate: " + statement);
    instruction.guard = int(found.slot);
    instruction.guard_negated = found.negated;
    return trim(statement.substr(end));
  }

  /// The registers of each instruction that must not be used while a wgmma is under way.
  void list_touches() {
    for (Instruction& it : kernel->code) {
      if (it.flow == Flow::collective) continue;
      const auto add = [&](u32 slot, bool writes) {
        if (slot >= 2 * 128) it.touches.push_back({slot, writes});
      };
      add(it.destination, true);
      for (const u32 slot : it.source) add(slot, false);
      for (size_t n = 0; n < it.operands.size(); ++n) {
        for (const Operand& operand : it.operands[n]) {
          const bool loads =
              it.text.find("ld.") != std::string::npos || it.text.find("mov.") != std::string::npos;
          if (operand.kind == Operand::Kind::register_) add(operand.slot, loads && n == 0);
        }
      }
    }
  }
};

}  // namespace

void parse_module(Module& module, const std::string& text) { Parser(module, text).parse(); }

}  // namespace ptx
