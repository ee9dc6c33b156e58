// A parsed program: kernels, instructions and operands. Sections named in this folder are those of NVIDIA's
// "PTX ISA" manual.
#pragma once

#include <cstdint>
#include <cstring>
#include <map>
#include <string>
#include <vector>

namespace ptx {

using u8 = uint8_t;
using u16 = uint16_t;
using u32 = uint32_t;
using u64 = uint64_t;
using s16 = int16_t;
using s32 = int32_t;
using s64 = int64_t;
using u128 = unsigned __int128;
using s128 = __int128;

/// A program that cannot be parsed.
struct Error {
  std::string message;
};

// Windows of the generic address space ("State Spaces"; "Generic Addressing").
constexpr u64 SHARED_WINDOW = 0x00a0'0000'0000'0000ull;
constexpr u64 PARAM_WINDOW = 0x00b0'0000'0000'0000ull;
constexpr u64 WINDOW_MASK = 0xfff0'0000'0000'0000ull;
/// What the system reserves of a block's shared memory from sm_80 on.
constexpr u32 SHARED_BASE = 1024;
/// A shared::cluster address has the block's rank in the cluster, plus 1, above these bits; 0 is the own
/// block.
constexpr u32 RANK_SHIFT = 24;
constexpr u32 RANK_MASK = 0xff00'0000u;

constexpr int LANES = 32;
constexpr u32 FULL_MASK = ~0u;

struct Operand {
  enum class Kind : u8 { none, register_, predicate, constant, symbol, sink };
  Kind kind = Kind::none;
  u8 bits = 32;
  bool negated = false;
  u32 slot = 0;   // byte offset in a warp's registers, or the index of a predicate
  u64 value = 0;  // of a constant; the offset of a symbol in its state space
};

struct Warp;
struct Instruction;
using Handler = void (*)(Warp&, const Instruction&, u32 mask);

enum class Flow : u8 {
  plain,  // each lane on its own
  branch,
  exit,
  collective,  // all lanes of a warp together; may block the warp
};
enum class Space : u8 { param, shared, cluster, global, generic };
enum class Combine : u8 { none, and_, or_, xor_ };
enum class Format : u8 { f16, bf16, tf32, e4m3, e5m2 };

/// Bytes of an element of a matrix operand.
constexpr u32 bytes_of(Format format) {
  return format == Format::tf32 ? 4 : format == Format::f16 || format == Format::bf16 ? 2 : 1;
}

/// An entry of a warp's register file that an instruction reads or writes.
struct Touch {
  u32 slot;
  bool writes;
};

struct Instruction {
  std::string text;
  int line = 0;
  Handler handler = nullptr;
  Flow flow = Flow::plain;
  int guard = -1;
  bool guard_negated = false;
  int target = -1;  // of a branch

  // Slots of scalar operands.
  u32 destination = 0;
  u32 source[4] = {};
  int predicate_out = -1;
  int predicate_in[2] = {-1, -1};
  bool predicate_in_negated = false;
  Combine combine = Combine::none;

  // Operands of the other instructions.
  std::vector<std::vector<Operand>> operands;
  s64 offset[2] = {};
  Space space = Space::generic;
  u32 element_bytes = 0;
  int count = 0;    // of elements, matrices, or pending groups
  int variant = 0;  // described at each handler
  bool flag = false;
  Format format[2] = {Format::f16, Format::f16};
  int n = 0, k = 0;  // extents of a matrix product
  bool transposed[2] = {false, false};
  std::vector<Touch> touches;  // filled where a kernel has wgmma
};

struct Parameter {
  std::string name;
  u32 offset, bytes;
};

struct Kernel {
  std::string name;
  std::vector<Parameter> parameters;
  u32 parameter_bytes = 0;
  int max_threads = 0;
  int min_blocks = 1;
  u32 cluster_blocks = 0;  // 0: not fixed by the program
  std::vector<Instruction> code;
  u32 register_bytes = 0;  // of a warp
  int predicates = 0;
  u32 static_shared_bytes = 0;
  std::map<std::string, u32> shared_symbols;
  std::string dynamic_symbol;
  u32 dynamic_align = 16;
  bool has_wgmma = false;
  u32 grain_bytes = 2;  // of shared memory whose accesses are known; 1 where single bytes are written
  struct Constant {
    u32 slot;
    u8 bits;
    u64 value;
  };
  std::vector<Constant> constants;
  struct Special {
    u32 slot;
    u8 bits;
    std::string name;
  };
  std::vector<Special> specials;
};

struct Module {
  std::string target;
  std::map<std::string, Kernel> kernels;
};

/// Parses a module; throws `Error` with the line and the text of what it does not know.
void parse_module(Module& module, const std::string& text);

}  // namespace ptx
